// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * A tenant's packets to the overlay's IPv6 and back. Only the addresses matter to a transport
 * checksum: length and protocol count the same under all headers, so the difference of the addresses
 * mends it, partial checksums too.
 */
#pragma once

#include "overlay.h"

/* Since 6.3; older kernels leave skb->protocol as it was. */
#define ADJ_ROOM_DECAP_L3_IPV4 (1ULL << 7)

#define OUTER_HOP_LIMIT 64

/* How a packet goes to another node. */
struct way {
	__u64 node; /* its /64 */
	__u32 kind;
	__be32 half; /* of that */
	__be32 source; /* tokens, of KIND_TENANT6 */
	__be32 destination;
};

/* Tells the transport checksum that the addresses have changed by difference. */
static __always_inline int mend(struct __sk_buff *skb, const struct packet *pkt, __u32 transport,
				__s64 difference)
{
	int offset = checksum_offset(pkt->protocol);
	__u64 flags = BPF_F_PSEUDO_HDR;

	if (offset < 0 || pkt->part == PART_LATER)
		return 0;
	/* A UDP checksum of zero means none, and stays so. */
	if (pkt->protocol == IPPROTO_UDP)
		flags |= BPF_F_MARK_MANGLED_0;
	/* The kernel takes it for an unfinished one, which is kept as the complement of a whole one. */
	if (pkt->finished)
		difference = (__u32)~difference;
	return bpf_l4_csum_replace(skb, transport + offset, 0, difference, flags);
}

/* Is it a UDP packet that stands for many? The kernel changes the protocol of TCP's only. */
static __always_inline int is_udp_gso(const struct __sk_buff *skb, const struct packet *pkt)
{
	return gso_size(skb) && pkt->protocol == IPPROTO_UDP;
}

/* The half of this node's /64 that the key of its tunnels says. */
static __always_inline __be32 own_half(void)
{
	__u32 zero = 0;
	struct state *state = bpf_map_lookup_elem(&edgenet_state, &zero);

	return state ? *(volatile __be32 *)&state->half : 0;
}

static __always_inline void fill_addresses(struct overlay_header *h, const struct packet *pkt,
					   const struct way *way)
{
	h->source.prefix = node_prefix;
	h->source.kind_vni = own_half() | bpf_htonl(way->kind << 24 | pkt->vni);
	h->destination.prefix = way->node;
	h->destination.kind_vni = way->half | bpf_htonl(way->kind << 24 | pkt->vni);
}

static __always_inline void to_overlay4(struct overlay_header *h, const struct packet *pkt,
					const struct way *way)
{
	__u32 label = 0;

	fill_addresses(h, pkt, way);
	h->source.address = pkt->source.words[3];
	h->destination.address = pkt->destination.words[3];
	h->protocol = pkt->protocol;
	if (!pkt->dont_fragment)
		label = LABEL_MAY_FRAGMENT | pkt->identification;
	if (way->kind != KIND_TENANT4) {
		h->protocol = PROTOCOL_OPTIONS4;
		label |= pkt->identification;
		h->source.kind_vni =
			own_half() |
			bpf_htonl(way->kind << 24 | (__u32)(pkt->offset / 8) << OPTIONS4_OFFSET |
				  (pkt->more ? OPTIONS4_MORE : 0) | pkt->protocol);
	}
	h->version_class_label = bpf_htonl(6U << 28 | (__u32)pkt->class << 20 | label);
	h->payload = bpf_htons(pkt->length - IPV4_HEADER);
	h->hop_limit = pkt->hop_limit - 1;
}

/* Rewrites the IPv4 packet behind an Ethernet header. */
static __always_inline int translate_out4(struct __sk_buff *skb, const struct packet *pkt,
					  const struct way *way)
{
	struct {
		__u8 reserved[6];
		__be16 protocol;
		struct overlay_header header;
	} out = {.protocol = bpf_htons(ETH_P_IPV6)};
	__be32 before[2] = {pkt->source.words[3], pkt->destination.words[3]};
	__s64 difference;
	int error;

	to_overlay4(&out.header, pkt, way);
	difference = bpf_csum_diff(before, 8, (__be32 *)&out.header.source, 32, 0);
	if (is_udp_gso(skb, pkt))
		error = bpf_skb_adjust_room(skb, IPV6_HEADER - IPV4_HEADER, BPF_ADJ_ROOM_MAC,
					    BPF_F_ADJ_ROOM_FIXED_GSO);
	else
		error = bpf_skb_change_proto(skb, bpf_htons(ETH_P_IPV6), 0);
	if (error || bpf_skb_store_bytes(skb, ETH_HLEN - 2, &out.protocol, 2 + IPV6_HEADER, 0))
		return REASON_TRANSLATION;
	/* What has no checksum that the tunnel would see keeps that of its own addresses. */
	if (way->kind == KIND_TENANT4 && mend(skb, pkt, ETH_HLEN + IPV6_HEADER, difference))
		return REASON_TRANSLATION;
	return REASON_NONE;
}

/* Puts the overlay's addresses in place of the tenant's, or the overlay's header in front. */
static __always_inline int translate_out6(struct __sk_buff *skb, const struct packet *pkt,
					  const struct way *way)
{
	struct overlay_header out = {.hop_limit = pkt->hop_limit - 1};
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;
	__s64 difference;

	fill_addresses(&out, pkt, way);
	if (way->kind == KIND_TENANT6) {
		out.source.address = way->source;
		out.destination.address = way->destination;
		difference =
			bpf_csum_diff((__be32 *)&pkt->source, 32, (__be32 *)&out.source, 32, 0);
		if (bpf_skb_store_bytes(skb, ETH_HLEN + 7, &out.hop_limit, 33, 0) ||
		    mend(skb, pkt, pkt->transport, difference))
			return REASON_TRANSLATION;
		return REASON_NONE;
	}
	if (bpf_skb_store_bytes(skb, ETH_HLEN + 7, &out.hop_limit, 1, 0))
		return REASON_TRANSLATION;
	out.version_class_label = bpf_htonl(6U << 28 | (__u32)pkt->class << 20);
	out.payload = bpf_htons(pkt->length);
	out.protocol = IPPROTO_IPV6;
	out.hop_limit = OUTER_HOP_LIMIT;
	if (gso_size(skb))
		flags |= BPF_F_ADJ_ROOM_ENCAP_L3_IPV6;
	if (bpf_skb_adjust_room(skb, IPV6_HEADER, BPF_ADJ_ROOM_MAC, flags) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, &out, IPV6_HEADER, 0))
		return REASON_TRANSLATION;
	return REASON_NONE;
}

static __always_inline void from_overlay4(struct iphdr *ip, const struct packet *pkt)
{
	__u32 options = pkt->options ? pkt->checksum : 0;

	ip->version = 4;
	ip->ihl = 5 + pkt->options;
	ip->tos = pkt->class;
	ip->tot_len = bpf_htons(pkt->length);
	ip->id = bpf_htons(pkt->identification);
	ip->frag_off = bpf_htons((pkt->dont_fragment ? IP_DF : 0) | (pkt->more ? IP_MF : 0) |
				 pkt->offset / 8);
	ip->ttl = pkt->hop_limit;
	ip->protocol = pkt->protocol;
	ip->check = 0;
	ip->saddr = pkt->source.words[3];
	ip->daddr = pkt->destination.words[3];
	ip->check = ip_checksum(ip, options);
}

/* Sets *stale if skb->protocol could not be changed with the header. */
static __always_inline int translate_in4(struct __sk_buff *skb, const struct overlay_header *h,
					 const struct packet *pkt, int *stale)
{
	struct frame4 out = {.eth.h_proto = bpf_htons(ETH_P_IP)};
	__s64 difference;
	int error;

	from_overlay4(&out.ip, pkt);
	difference = bpf_csum_diff((__be32 *)&h->source, 32, &out.ip.saddr, 8, 0);
	if (is_udp_gso(skb, pkt)) {
		error = bpf_skb_adjust_room(skb, IPV4_HEADER - IPV6_HEADER, BPF_ADJ_ROOM_MAC,
					    BPF_F_ADJ_ROOM_FIXED_GSO | ADJ_ROOM_DECAP_L3_IPV4);
		if (error) {
			*stale = 1;
			error = bpf_skb_adjust_room(skb, IPV4_HEADER - IPV6_HEADER,
						    BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);
		}
	} else {
		error = bpf_skb_change_proto(skb, bpf_htons(ETH_P_IP), 0);
	}
	if (error || bpf_skb_store_bytes(skb, 0, &out.eth, ETH_HLEN + IPV4_HEADER, 0))
		return REASON_TRANSLATION;
	if (kind_of(&h->source) == KIND_TENANT4)
		error = mend(skb, pkt, ETH_HLEN + IPV4_HEADER, difference);
	return error ? REASON_TRANSLATION : REASON_NONE;
}

static __always_inline int translate_in6(struct __sk_buff *skb, const struct overlay_header *h,
					 const struct packet *pkt)
{
	__s64 difference;

	if (kind_of(&h->source) == KIND_WHOLE6)
		return bpf_skb_adjust_room(skb, -IPV6_HEADER, BPF_ADJ_ROOM_MAC, 0)
			       ? REASON_TRANSLATION
			       : REASON_NONE;
	difference = bpf_csum_diff((__be32 *)&h->source, 32, (__be32 *)&pkt->source, 32, 0);
	if (bpf_skb_store_bytes(skb, ETH_HLEN + 8, &pkt->source, 32, 0) ||
	    mend(skb, pkt, pkt->transport, difference))
		return REASON_TRANSLATION;
	return REASON_NONE;
}

/* Rewrites the overlay packet behind its link header. */
static __noinline int translate_in(struct __sk_buff *skb, const struct overlay_header *h,
				   const struct packet *pkt, int *stale)
{
	if (pkt->family == 4)
		return translate_in4(skb, h, pkt, stale);
	return translate_in6(skb, h, pkt);
}
