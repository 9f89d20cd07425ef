// Package agent is a process inside a network namespace that does what a
// container's workload would do: it serves, dials, pings, keeps a connection
// busy, and, for hostile scenarios, sends and captures raw frames. The program
// that starts it executes itself again (see RunIfAsked) and speaks net/rpc with
// it over a socket pair; when that socket closes, the agent ends, and with it
// the namespace that it held.
//
// Out of its scope: what the answers mean for a scenario (package lab).
package agent
