// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * Hosts count on it that 1,280 bytes of IPv6 get everywhere (RFC 8200, section 5), and believe nobody
 * who says otherwise. Where a path takes less, what is not longer than that is made to fit: large TCP
 * packets are cut by others into smaller segments, other packets here into two fragments.
 */
#pragma once

#include "translate.h"

#define IPV6_LEAST	1280
#define FRAGMENT_HEADER 8
#define FRAGMENT_MORE	1
#define MAX_CUT		(IPV6_LEAST - IPV6_HEADER) /* bytes behind the IPv6 header */
#define FIRST_MASK	0x7f8 /* more than a first fragment has, which old kernels see best */
#define SUM_CHUNK	416 /* a third of that, and less than bpf_csum_diff takes */

/* A packet of the overlay's as it leaves, with a fragment header in front of its payload. */
struct cutting {
	__u8 reserved[2];
	struct ethhdr eth;
	struct overlay_header header;
	__u8 protocol;
	__u8 reserved2;
	__be16 offset; /* bytes, and whether more follow */
	__u32 identification;
	__u8 payload[FIRST_MASK + MAX_CUT + 8];
};

/* As far as the transport header: the kernel counts from the Ethernet header on. */
#define CUT_OFF (ETH_HLEN + IPV6_HEADER + 4)

#define CUTTING_HEADERS (ETH_HLEN + IPV6_HEADER + FRAGMENT_HEADER)

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cutting);
} cuttings SEC(".maps");

/* May a packet that a path is too narrow for be cut? */
static __always_inline int may_cut(const struct __sk_buff *skb, const struct packet *pkt,
				   const struct way *way)
{
	if (way->kind != KIND_TENANT6)
		return 0;
	if (gso_size(skb))
		return pkt->protocol == IPPROTO_TCP;
	/* Not behind other headers. */
	if (pkt->part)
		return pkt->fragmentable == ETH_HLEN + IPV6_HEADER + FRAGMENT_HEADER;
	return pkt->transport == ETH_HLEN + IPV6_HEADER;
}

/*
 * Has the segments that a TCP packet stands for be so many bytes shorter: the kernel takes room for
 * headers from them, and need not give it back.
 */
static __always_inline int shorten_segments(struct __sk_buff *skb, __u32 by)
{
	if (by > 0xfff)
		return -1;
	return bpf_skb_adjust_room(skb, by, BPF_ADJ_ROOM_MAC, 0) ||
	       bpf_skb_adjust_room(skb, -(__s32)by, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);
}

/*
 * Computes a checksum that was left to the device: it would be computed over a fragment. Where it is
 * still to be, there is the sum of the pseudo header.
 */
static __noinline int finish_checksum(struct cutting *c, __u32 size, __u8 protocol)
{
	int offset = checksum_offset(protocol);
	__u32 rest = (size + 3) & ~3U;
	__u64 sum;
	__u16 value;

	if (offset < 0 || !c)
		return 0;
	sum = (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&c->header.source, 32, 0);
	sum += bpf_htons(size) + bpf_htons(protocol);
	offset &= 0x1e;
	if (*(__u16 *)(c->payload + offset) != fold(sum))
		return 0;
	sum = 0;
	for (__u32 at = 0; at < 3 * SUM_CHUNK; at += SUM_CHUNK) {
		__u32 chunk = rest < SUM_CHUNK ? rest : SUM_CHUNK;

		barrier_var(chunk);
		chunk &= 0x1fc;
		if (chunk)
			sum += (__u32)bpf_csum_diff(NULL, 0, (__be32 *)(c->payload + at), chunk, 0);
		rest -= chunk;
	}
	value = ~fold(sum);
	if (!value && protocol == IPPROTO_UDP)
		value = 0xffff;
	*(__u16 *)(c->payload + offset) = value;
	return 0;
}

/* Takes a packet apart, and makes a fragment of it if it is none. */
static __always_inline int take_apart(struct __sk_buff *skb, const struct packet *pkt,
				      struct cutting *c, __u32 size)
{
	__u32 at = ETH_HLEN + IPV6_HEADER + (pkt->part ? FRAGMENT_HEADER : 0), last = size - 1;

	barrier_var(last);
	if (last >= MAX_CUT)
		return -1;
	*(__u32 *)(c->payload + (last & 0x7fc)) = 0;
	if (bpf_skb_load_bytes(skb, at, c->payload, last + 1) ||
	    bpf_skb_load_bytes(skb, 0, &c->eth, ETH_HLEN + IPV6_HEADER))
		return -1;
	if (pkt->part)
		return bpf_skb_load_bytes(skb, ETH_HLEN + IPV6_HEADER, &c->protocol,
					  FRAGMENT_HEADER);
	finish_checksum(c, size, pkt->protocol);
	c->header.protocol = IPPROTO_FRAGMENT;
	c->protocol = pkt->protocol;
	c->reserved2 = 0;
	c->offset = 0;
	c->identification = bpf_get_prandom_u32();
	return 0;
}

/*
 * Sends a packet of the overlay's in two fragments that are no longer than room. What is cut off in
 * front takes the mark of a checksum that is still to be computed with it.
 */
static __noinline int send_cut(struct __sk_buff *skb, const struct packet *pkt, __u32 room,
			       __u32 ifindex)
{
	__u32 zero = 0, first = (room - IPV6_HEADER - FRAGMENT_HEADER) & FIRST_MASK;
	__u32 size = pkt->length - IPV6_HEADER - (pkt->part ? FRAGMENT_HEADER : 0), rest;
	struct cutting *c = bpf_map_lookup_elem(&cuttings, &zero);
	__u16 offset;

	if (!c || first > MAX_CUT || first < 8 || take_apart(skb, pkt, c, size))
		return -1;
	barrier_var(first);
	first &= FIRST_MASK;
	offset = bpf_ntohs(c->offset);
	c->offset = bpf_htons(offset | FRAGMENT_MORE);
	c->header.payload = bpf_htons(FRAGMENT_HEADER + first);
	if (bpf_skb_change_tail(skb, CUTTING_HEADERS + first + CUT_OFF, 0) ||
	    bpf_skb_adjust_room(skb, -CUT_OFF, BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_store_bytes(skb, 0, &c->eth, CUTTING_HEADERS + first, 0) ||
	    bpf_clone_redirect(skb, ifindex, 0))
		return -1;
	rest = size - first - 1;
	barrier_var(rest);
	if (rest >= MAX_CUT)
		return -1;
	rest++;
	barrier_var(first);
	first &= FIRST_MASK;
	c->offset = bpf_htons(offset + first);
	c->header.payload = bpf_htons(FRAGMENT_HEADER + rest);
	if (bpf_skb_change_tail(skb, CUTTING_HEADERS + rest, 0) ||
	    bpf_skb_store_bytes(skb, 0, &c->eth, CUTTING_HEADERS, 0) ||
	    bpf_skb_store_bytes(skb, CUTTING_HEADERS, c->payload + first, rest, 0))
		return -1;
	return bpf_redirect(ifindex, 0);
}
