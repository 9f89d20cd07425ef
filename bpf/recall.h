// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * A flow remembers where its other side is, so that packets of a flow that is known need not look it
 * up. What is remembered is good for the generation in which it was found out: places change with it.
 */
#pragma once

#include "flow.h"

/*
 * Makes a place unreadable for everybody but this flow in this generation. The memory of a flow that
 * was evicted may be another's by the time that it is read or written.
 */
static __always_inline __u64 veil(const struct packet *pkt, __u32 endpoint, __u32 direction)
{
	const union ip *remote = direction == EGRESS ? &pkt->destination : &pkt->source;
	__u64 x = (remote->halves[0] ^ (__u64)endpoint << 32) + pkt->generation;

	x *= 0x9e3779b97f4a7c15ULL;
	x ^= x >> 32;
	x = (x ^ remote->halves[1]) * 0xbf58476d1ce4e5b9ULL;
	return x ^ x >> 31;
}

/* A place in one word: a node, whose first byte is not 0, or an interface. 0 is no place. */
static __always_inline __u64 word_of(const struct place *at)
{
	return at->ifindex ? (__u64)at->ifindex << 32 : at->node;
}

/* What a flow of ep is to remember. */
static __noinline int remember(struct flow *flow, const struct packet *pkt, __u32 endpoint,
			       __u32 direction)
{
	flow->place = pkt->place ? pkt->place ^ veil(pkt, endpoint, direction) : 0;
	return 0;
}

/* The flow of a packet whose ports are known; NULL if it has none. */
static __noinline struct flow *flow_of(const struct packet *pkt, const struct endpoint *ep,
				       __u32 direction)
{
	struct flow_key key = {};

	if (is_icmp(pkt->protocol) && !is_echo(pkt->protocol, pkt->icmp_type))
		return NULL;
	flow_key_of(&key, pkt, ep, direction);
	return bpf_map_lookup_elem(&flows, &key);
}

/*
 * Where the other side of the packet is, if its flow is alive, permitted in the packet's generation,
 * and knows. 0 if not: then it has to be looked up, and so have rules.
 */
static __noinline __u64 recall(const struct flow *flow, const struct packet *pkt, __u32 endpoint,
			       __u32 direction)
{
	__u64 place;

	if (!flow || pkt->traced || opens(pkt) ||
	    *(volatile __u64 *)&flow->generation != pkt->generation || !is_alive(flow))
		return 0;
	place = *(volatile __u64 *)&flow->place;
	if (!place)
		return 0;
	place ^= veil(pkt, endpoint, direction);
	if ((__u32)place && (place ^ node_prefix) & bpf_cpu_to_be64(0xffffff0000000000ULL))
		return 0;
	return place;
}
