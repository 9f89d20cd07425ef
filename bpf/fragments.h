// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * Fragments are passed on as they come, each judged by the ports that the first one had. A host sends
 * the first one first, and a tunnel keeps the order.
 */
#pragma once

#include "parse.h"

/* As long as hosts wait for the rest of a packet (RFC 791, RFC 8200 say up to 60 s). */
#define FRAGMENTS_KEPT (30 * 1000000000LL)

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

static __always_inline __u32 fragment_number(const struct fragment *f)
{
	__u64 mixed = f->source.halves[0] ^ f->source.halves[1];

	mixed = mixed * 31 ^ f->destination.halves[0] ^ f->destination.halves[1];
	mixed = mixed * 31 ^ f->identification ^ (__u64)f->known_by << 32;
	/* Fibonacci hashing: the highest bits depend on all. */
	return mixed * 0x9e3779b97f4a7c15ULL >> 57 & (FRAGMENT_PLACES - 1);
}

/* What a place has of the same packet, if it is not too old. */
static __always_inline struct fragment *first_of(const struct fragment_place *place,
						 const struct fragment *f)
{
	struct fragment *first = bpf_map_lookup_elem(&fragments, place);

	if (!first || first->identification != f->identification ||
	    first->known_by != f->known_by || !same_ip(&first->source, &f->source) ||
	    !same_ip(&first->destination, &f->destination))
		return NULL;
	return (__s64)(bpf_ktime_get_coarse_ns() - first->seen) > FRAGMENTS_KEPT ? NULL : first;
}

/* Remembers what a first fragment says, as an endpoint sees it, and tells it to later ones. */
__noinline int join_fragment(struct packet *pkt, __u32 endpoint)
{
	struct fragment_place place = {.endpoint = endpoint};
	struct fragment fresh = {}, *first;

	if (!pkt)
		return REASON_MALFORMED;
	fresh.source = pkt->source;
	fresh.destination = pkt->destination;
	fresh.identification = pkt->identification;
	fresh.known_by = pkt->family == 4 ? pkt->protocol : 0;
	place.number = fragment_number(&fresh);
	first = first_of(&place, &fresh);
	if (pkt->part == PART_FIRST) {
		fresh.seen = bpf_ktime_get_coarse_ns();
		fresh.source_port = pkt->source_port;
		fresh.destination_port = pkt->destination_port;
		fresh.header = pkt->transport - pkt->fragmentable + pkt->transport_header;
		/* Of two first ones the receiver may keep either. */
		if (first && fresh.header < first->header)
			fresh.header = first->header;
		fresh.protocol = pkt->protocol;
		fresh.icmp_type = pkt->icmp_type;
		fresh.icmp_code = pkt->icmp_code;
		bpf_map_update_elem(&fragments, &place, &fresh, BPF_ANY);
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
