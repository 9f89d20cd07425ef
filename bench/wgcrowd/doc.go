// Package wgcrowd is many WireGuard peers in one process, each with a key, a UDP
// socket and an address of its own inside the tunnel. They talk to one device,
// whose side is what is measured.
//
// Each is golang.zx2c4.com/wireguard without a device of the kernel's: packets are
// made and taken in memory.
//
// Out of scope: throughput. A peer sends and receives one packet at a time.
package wgcrowd
