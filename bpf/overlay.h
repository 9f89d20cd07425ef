// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* A tenant's packet as a tunnel brings it, taken apart. */
#pragma once

#include "fragments.h"
#include "options.h"

/*
 * IPv4 with options, or a fragment, has a protocol of nobody's (RFC 3692), so that nothing on the way
 * takes its payload for a transport header. What has no place elsewhere is where the source's VNI
 * would be: that is the destination's.
 */
#define PROTOCOL_OPTIONS4 253
#define OPTIONS4_OFFSET	  9 /* shift; in 8 bytes */
#define OPTIONS4_MORE	  0x100
#define OPTIONS4_PROTOCOL 0xff

/* The flow label of a packet that may be fragmented carries its identification. */
#define LABEL_MAY_FRAGMENT 0x40000
#define LABEL_MASK	   0xfffff

static __always_inline __u32 kind_of(const struct overlay_address *a)
{
	return bpf_ntohl(a->kind_vni) >> 24 & 0x7f;
}

static __always_inline __u32 vni_of(const struct overlay_address *a)
{
	return bpf_ntohl(a->kind_vni) & 0xffffff;
}

static __always_inline int is_options4(__u32 kind)
{
	return kind >= KIND_OPTIONS4 && kind <= KIND_OPTIONS4 + MAX_OPTIONS / 4;
}

/* The address that a node has given a token to; all zero, which is nobody's, if there is none. */
static __always_inline void address_of(union ip *ip, const struct overlay_address *a, __u32 vni)
{
	struct token_key key = {.node = a->prefix, .vni = vni, .token = a->address};
	union ip *known = bpf_map_lookup_elem(&tokens, &key);

	if (known)
		*ip = *known;
}

static __always_inline int read_options4(struct __sk_buff *skb, const struct overlay_header *h,
					 struct packet *pkt)
{
	__u32 rest = vni_of(&h->source), sum;
	int reason;

	pkt->options = kind_of(&h->destination) - KIND_OPTIONS4;
	if (h->protocol != PROTOCOL_OPTIONS4 || gso_size(skb) ||
	    bpf_ntohs(h->payload) < pkt->options * 4)
		return REASON_MALFORMED;
	reason = check_options(skb, pkt->transport, pkt->options, &sum);
	if (reason)
		return reason;
	pkt->checksum = sum;
	pkt->transport += pkt->options * 4;
	pkt->fragmentable = pkt->transport;
	pkt->protocol = rest & OPTIONS4_PROTOCOL;
	set_part(pkt, (rest >> OPTIONS4_OFFSET & IP_OFFSET) * 8, rest & OPTIONS4_MORE);
	return REASON_NONE;
}

/* An IPv4 packet whose header the overlay's took the place of. */
static __always_inline int read_tenant4(struct __sk_buff *skb, const struct overlay_header *h,
					struct packet *pkt)
{
	__u32 label = bpf_ntohl(h->version_class_label) & LABEL_MASK;
	__u32 kind = kind_of(&h->destination);

	pkt->family = 4;
	pkt->length = bpf_ntohs(h->payload) + IPV4_HEADER;
	if (pkt->length > MAX_LENGTH)
		return REASON_MALFORMED;
	map_ipv4(&pkt->source, h->source.address);
	map_ipv4(&pkt->destination, h->destination.address);
	pkt->dont_fragment = !(label & LABEL_MAY_FRAGMENT);
	if (kind != KIND_TENANT4) {
		pkt->identification = label & 0xffff;
		return read_options4(skb, h, pkt);
	}
	if (!pkt->dont_fragment)
		pkt->identification = label & 0xffff;
	return REASON_NONE;
}

/* An IPv6 packet that is whole behind the overlay's header. */
static __always_inline int read_whole6(struct __sk_buff *skb, const struct overlay_header *h,
				       struct packet *pkt)
{
	struct overlay_header inner;

	if (h->protocol != IPPROTO_IPV6 || gso_size(skb) ||
	    bpf_skb_load_bytes(skb, pkt->transport, &inner, IPV6_HEADER))
		return REASON_MALFORMED;
	if (bpf_ntohl(inner.version_class_label) >> 28 != 6 || !inner.hop_limit ||
	    bpf_ntohs(inner.payload) + IPV6_HEADER != bpf_ntohs(h->payload))
		return REASON_MALFORMED;
	__builtin_memcpy(&pkt->source, &inner.source, sizeof(union ip));
	__builtin_memcpy(&pkt->destination, &inner.destination, sizeof(union ip));
	/* These stand for IPv4 in the tables. */
	if (!is_unicast6(&pkt->source) || !is_unicast6(&pkt->destination))
		return REASON_MALFORMED;
	pkt->length = IPV6_HEADER + bpf_ntohs(inner.payload);
	pkt->protocol = inner.protocol;
	pkt->hop_limit = inner.hop_limit;
	pkt->transport += IPV6_HEADER;
	return REASON_NONE;
}

static __always_inline int read_tenant6(struct __sk_buff *skb, const struct overlay_header *h,
					struct packet *pkt)
{
	pkt->family = 6;
	if (kind_of(&h->destination) == KIND_WHOLE6)
		return read_whole6(skb, h, pkt);
	address_of(&pkt->source, &h->source, pkt->vni);
	address_of(&pkt->destination, &h->destination, pkt->vni);
	pkt->length = IPV6_HEADER + bpf_ntohs(h->payload);
	return REASON_NONE;
}

/* Fills pkt from a tenant's packet under an overlay header, or says what is wrong with it. */
static __noinline int read_overlay(struct __sk_buff *skb, const struct overlay_header *h,
				   struct packet *pkt)
{
	__u32 end = ETH_HLEN + IPV6_HEADER + bpf_ntohs(h->payload);
	int reason;

	if (!h->hop_limit)
		return REASON_MALFORMED;
	pkt->vni = vni_of(&h->destination);
	pkt->protocol = h->protocol;
	pkt->hop_limit = h->hop_limit;
	pkt->class = bpf_ntohl(h->version_class_label) >> 20;
	pkt->transport = ETH_HLEN + IPV6_HEADER;
	switch (kind_of(&h->destination)) {
	case KIND_TENANT6:
	case KIND_WHOLE6:
		reason = read_tenant6(skb, h, pkt);
		if (!reason && is_extension(pkt->protocol))
			reason = walk_extensions(skb, pkt, end);
		break;
	default:
		reason = read_tenant4(skb, h, pkt);
	}
	if (!reason)
		reason = check_fragment(pkt, end);
	if (reason || pkt->part == PART_LATER)
		return reason;
	return parse_transport(skb, pkt, end);
}
