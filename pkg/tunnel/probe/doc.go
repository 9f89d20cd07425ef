// Package probe measures the tunnels: round-trip time, loss and path MTU to
// every peer's own overlay address, by ICMPv6 echo.
//
// The peer's kernel answers, not its daemon, so a tunnel is measured while the
// daemon at its other end restarts; and the request goes through the tunnel
// like any packet of a tenant's, so what is measured is what tenants get.
//
// Out of scope: what follows from a measurement. Failure detection is the
// mesh's, path choice the daemon's.
package probe
