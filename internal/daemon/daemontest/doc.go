// Package daemontest runs daemons over a kernel that is only in memory: the
// mesh, the records and the API are real, tunnels and datapath are not, so that
// tests need no privilege and touch nothing of the host's.
//
// Out of its scope: packets (test/netns).
package daemontest
