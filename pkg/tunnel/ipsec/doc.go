// Package ipsec drives IPsec tunnels: IKEv2 by strongSwan's charon, which the
// driver starts, supervises and configures through vici, and ESP in the kernel
// or, by charon's kernel-libipsec, in userspace.
//
// # What is made
//
// A charon of its own for the device, with its own directory, configuration,
// control socket and log: nothing of a strongSwan that the host runs is read or
// touched. ESP travels in UDP, on the one port that IKE uses too, so that it
// passes NATs like WireGuard does.
//
// With KindKernel an xfrm interface, which only states and policies with its
// if_id use. With KindUserspace charon's own TUN device, whose name (ipsec0) and
// MTU (at most 1400) charon chooses.
//
// A peer is authenticated by its raw Ed25519 key, which is pinned: there is no
// shared secret, no certificate, and no peer without a configured key. Traffic
// selectors are the two nodes' prefixes.
//
// # What survives
//
// charon and all SAs go on when the daemon ends; a new driver adopts them. When
// charon dies, Up starts another, and peers have to be Put again. The kernel's
// states and policies stay in force meanwhile; the TUN of userspace IPsec does
// not.
//
// # What the caller has to check
//
// The kernel compares a packet that comes out of an SA with the policies only
// when it goes on into the host's stack. A program at the xfrm interface's tc
// ingress sees it before: it has to compare the request id of the packet's state
// with tunnel.PeerStatus.ReqID of the peer that the source belongs to.
// kernel-libipsec compares by itself.
//
// # Out of scope
//
// Who the peers are, which underlay address they are tried at, and when to look
// again: callers decide, and call again.
package ipsec
