// Package wireguard drives WireGuard tunnels: the kernel's device where the
// kernel has one, and otherwise a userspace process of its own (package
// userspace), both through wgctrl.
//
// # What is made
//
// One network device for all peers, with this node's overlay address and a
// route of the whole mesh into it; and a second, worse route that makes the
// mesh unreachable, so that nothing meant for a peer follows the default route
// in clear when the device is gone. Routes carry edgenet's protocol number
// and the device the alias Alias; nothing without these marks is
// ever removed.
//
// # What survives
//
// Everything stays in force when the daemon ends. A new Driver finds the device
// by its name and adopts it as it is, the kernel's or userspace's, whichever it
// was configured to prefer: swapping a running device would cut its traffic.
// When the userspace process dies, its TUN device stays, with its addresses,
// routes and programs, and Up starts a new process on it; peers have to be Put
// again.
//
// # Out of scope
//
// Who the peers are, which underlay address they are tried at, and when to look
// again: callers decide, and call again.
package wireguard
