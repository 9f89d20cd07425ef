// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * Fragments are passed on as they come, each judged by the ports that the first one had. A host sends
 * the first one first, and a tunnel keeps the order.
 */
#pragma once

#include "parse.h"

/* As long as hosts wait for the rest of a packet (RFC 791, RFC 8200 say up to 60 s). */
#define FRAGMENTS_KEPT (30 * 1000000000ULL)

#define MAX_LENGTH 65535

/* Lengths that no host could put together again. */
static __always_inline int check_fragment(const struct packet *pkt, __u32 end)
{
	__u32 size = end - pkt->fragmentable;

	if (!pkt->part)
		return REASON_NONE;
	if (!size || (pkt->more && size % 8) || pkt->offset + size > MAX_LENGTH)
		return REASON_MALFORMED;
	return REASON_NONE;
}

/* Remembers what a first fragment says, as an endpoint sees it, and tells it to later ones. */
__noinline int join_fragment(struct packet *pkt, __u32 endpoint)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	struct fragment fresh = {}, *first;
	struct fragment_key key;

	if (!pkt)
		return REASON_MALFORMED;
	key = (struct fragment_key){
		.source = pkt->source,
		.destination = pkt->destination,
		.endpoint = endpoint,
		.identification = pkt->identification,
		.protocol = pkt->family == 4 ? pkt->protocol : 0,
	};

	first = bpf_map_lookup_elem(&fragments, &key);
	if (first && now - first->seen > FRAGMENTS_KEPT)
		first = NULL;
	if (pkt->part == PART_FIRST) {
		fresh.seen = now;
		fresh.source_port = pkt->source_port;
		fresh.destination_port = pkt->destination_port;
		fresh.header = pkt->transport - pkt->fragmentable + pkt->transport_header;
		/* Of two first ones the receiver may keep either. */
		if (first && fresh.header < first->header)
			fresh.header = first->header;
		fresh.protocol = pkt->protocol;
		fresh.icmp_type = pkt->icmp_type;
		fresh.icmp_code = pkt->icmp_code;
		bpf_map_update_elem(&fragments, &key, &fresh, BPF_ANY);
		return REASON_NONE;
	}
	if (!first)
		return REASON_FRAGMENT_ALONE;
	if (pkt->offset < first->header)
		return REASON_FRAGMENT_OVERLAP;
	pkt->source_port = first->source_port;
	pkt->destination_port = first->destination_port;
	pkt->protocol = first->protocol;
	pkt->icmp_type = first->icmp_type;
	pkt->icmp_code = first->icmp_code;
	return REASON_NONE;
}
