// Package userspace is the process that runs WireGuard where the kernel has
// none: golang.zx2c4.com/wireguard on a TUN device, configured through the UAPI
// socket like any other userspace WireGuard.
//
// It is a process of its own so that tunnels survive the daemon that started
// it; the executable is the daemon's, called with Command as its first
// argument. The TUN device is persistent: when the process ends, by a signal or
// a crash, the device stays with its addresses, routes and programs, and drops
// what is sent into it until a new process takes it over. When the device is
// deleted the process ends.
//
// Out of scope: peers, keys, addresses and routes. The driver in the parent
// package sets them.
package userspace
