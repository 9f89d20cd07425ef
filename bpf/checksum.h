// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * A sender may leave the transport checksum to whoever puts the packet on a wire, and says where it
 * belongs (CHECKSUM_PARTIAL). Guests and packet sockets say that freely, and the kernel believes
 * them: the checksum would be written over a port or an address, and its value is the sender's
 * choice, after the rules were asked about what stood there. Programs cannot read where it belongs, but
 * two helpers tell.
 */
#pragma once

#include "parse.h"

/* Is a checksum to be worked out yet? Those of such packets are left alone but for the addresses. */
static __always_inline int is_unfinished(struct __sk_buff *skb, int *error)
{
	__u16 before = 0, after = 0;

	/* On the MAC, and taken back: any two bytes will do. */
	if (bpf_skb_load_bytes(skb, 0, &before, 2) || bpf_l4_csum_replace(skb, 0, 0, 1, 0) ||
	    bpf_skb_load_bytes(skb, 0, &after, 2)) {
		*error = 1;
		return 0;
	}
	if (before == after)
		return 1;
	*error = bpf_skb_store_bytes(skb, 0, &before, 2, 0) ? 1 : 0;
	return 0;
}

/* Bytes of the transport header that a checksum may not be written into. */
static __always_inline __u32 out_of_bounds(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_SCTP:
		return 8;
	default:
		return 6;
	}
}

/* Refuses packets whose checksum would be written over what the rules are asked about. */
static __noinline int check_unfinished(struct __sk_buff *skb, const struct packet *pkt)
{
	int error = 0;

	if (!is_unfinished(skb, &error))
		return error ? REASON_MALFORMED : REASON_NONE;
	/* The kernel does not cut off the place of the checksum: a cut that it makes tells. */
	if (!bpf_skb_change_tail(skb, pkt->transport + out_of_bounds(pkt->protocol) + 1, 0))
		return REASON_MALFORMED;
	return REASON_NONE;
}
