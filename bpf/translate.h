// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * IPv4 to the overlay's IPv6 and back. Only the addresses matter to a transport checksum: length and
 * protocol count the same under both headers, so the difference of the addresses mends it, partial
 * checksums too.
 */
#pragma once

#include "parse.h"

#include <linux/ipv6.h>

/* The flow label of a packet that may be fragmented carries its identification. */
#define LABEL_MAY_FRAGMENT 0x40000
#define LABEL_MASK	   0xfffff

/* Since 6.3; older kernels leave skb->protocol as it was. */
#define ADJ_ROOM_DECAP_L3_IPV4 (1ULL << 7)

static __always_inline int checksum_offset(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
		return 6;
	default:
		return -1;
	}
}

/* Tells the transport checksum that the addresses have changed by difference. */
static __always_inline int mend(struct __sk_buff *skb, __u32 transport, __u8 protocol,
				__s64 difference)
{
	int offset = checksum_offset(protocol);
	__u64 flags = BPF_F_PSEUDO_HDR;

	if (offset < 0)
		return 0;
	/* A UDP checksum of zero means none, and stays so. */
	if (protocol == IPPROTO_UDP)
		flags |= BPF_F_MARK_MANGLED_0;
	return bpf_l4_csum_replace(skb, transport + offset, 0, difference, flags);
}

static __always_inline void to_overlay(struct overlay_header *h, const struct iphdr *ip,
				       const struct packet *pkt, __u64 source, __u64 destination)
{
	__be32 owner = bpf_htonl(KIND_TENANT4 << 24 | pkt->vni);
	__u32 label = 0;

	if (!(bpf_ntohs(ip->frag_off) & IP_DF))
		label = LABEL_MAY_FRAGMENT | bpf_ntohs(ip->id);
	h->version_class_label = bpf_htonl(6U << 28 | (__u32)ip->tos << 20 | label);
	h->payload = bpf_htons(pkt->length - IPV4_HEADER);
	h->protocol = ip->protocol;
	h->hop_limit = ip->ttl;
	h->source.prefix = source;
	h->source.kind_vni = owner;
	h->source.address = ip->saddr;
	h->destination.prefix = destination;
	h->destination.kind_vni = owner;
	h->destination.address = ip->daddr;
}

static __always_inline void from_overlay(struct iphdr *ip, const struct overlay_header *h,
					 const struct packet *pkt)
{
	__u32 first = bpf_ntohl(h->version_class_label);
	__u32 label = first & LABEL_MASK;

	ip->version = 4;
	ip->ihl = 5;
	ip->tos = first >> 20;
	ip->tot_len = bpf_htons(pkt->length);
	ip->id = label & LABEL_MAY_FRAGMENT ? bpf_htons(label) : 0;
	ip->frag_off = label & LABEL_MAY_FRAGMENT ? 0 : bpf_htons(IP_DF);
	ip->ttl = h->hop_limit;
	ip->protocol = h->protocol;
	ip->check = 0;
	ip->saddr = h->source.address;
	ip->daddr = h->destination.address;
	ip->check = ip_checksum(ip);
}

/* Is it a UDP packet that stands for many? The kernel changes the protocol of TCP's only. */
static __always_inline int is_udp_gso(const struct __sk_buff *skb, const struct packet *pkt)
{
	return skb->gso_size && pkt->protocol == IPPROTO_UDP;
}

/* Rewrites the IPv4 packet behind an Ethernet header. */
static __always_inline int translate_out(struct __sk_buff *skb, struct iphdr *ip,
					 const struct packet *pkt, __u64 source, __u64 destination)
{
	struct {
		__u8 reserved[6];
		__be16 protocol;
		struct overlay_header header;
	} out = {.protocol = bpf_htons(ETH_P_IPV6)};
	__s64 difference;
	int error;

	to_overlay(&out.header, ip, pkt, source, destination);
	difference = bpf_csum_diff(&ip->saddr, 8, (__be32 *)&out.header.source, 32, 0);
	if (is_udp_gso(skb, pkt))
		error = bpf_skb_adjust_room(skb, IPV6_HEADER - IPV4_HEADER, BPF_ADJ_ROOM_MAC,
					    BPF_F_ADJ_ROOM_FIXED_GSO);
	else
		error = bpf_skb_change_proto(skb, bpf_htons(ETH_P_IPV6), 0);
	if (error || bpf_skb_store_bytes(skb, ETH_HLEN - 2, &out.protocol, 2 + IPV6_HEADER, 0) ||
	    mend(skb, ETH_HLEN + IPV6_HEADER, pkt->protocol, difference))
		return REASON_TRANSLATION;
	return REASON_NONE;
}

/*
 * Rewrites the overlay packet, and gives it an Ethernet header if it has none. Sets *stale if
 * skb->protocol could not be changed with it.
 */
static __always_inline int translate_in(struct __sk_buff *skb, struct overlay_header *h,
					const struct packet *pkt, int *stale)
{
	struct frame out = {.eth.h_proto = bpf_htons(ETH_P_IP)};
	__s64 difference;
	int error;

	from_overlay(&out.ip, h, pkt);
	difference = bpf_csum_diff((__be32 *)&h->source, 32, &out.ip.saddr, 8, 0);
	if (!tunnel_header && bpf_skb_change_head(skb, ETH_HLEN, 0))
		return REASON_TRANSLATION;
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
	if (error || bpf_skb_store_bytes(skb, 0, &out.eth, ETH_HLEN + IPV4_HEADER, 0) ||
	    mend(skb, ETH_HLEN + IPV4_HEADER, pkt->protocol, difference))
		return REASON_TRANSLATION;
	return REASON_NONE;
}
