// Package tunneltest proves drivers: Conform is the one suite that every
// tunnel.Driver passes, on real packets where the driver makes real tunnels, and
// Network is an in-memory twin for tests of a driver's callers.
//
// Out of scope: how fast a tunnel is.
package tunneltest
