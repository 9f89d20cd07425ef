// Package tunnel says what an encrypted association with a peer node is, what a
// driver of one has to promise, and which underlay addresses it runs over.
//
// The drivers themselves are in sub-packages: wireguard (the kernel's and a
// userspace process). Package probe measures tunnels, and tunneltest has an
// in-memory driver and the conformance suite that every driver passes.
//
// Out of scope: who the peers are and whether they may be believed (package
// mesh), what tenants send through the tunnel (package isolation), and when to
// call a driver (the daemon's reconciler).
package tunnel
