// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* What an endpoint sends, taken apart: is it whole, and is it the endpoint's? */
#pragma once

#include "checksum.h"
#include "fragments.h"
#include "locate.h"
#include "mac.h"
#include "options.h"

#include <linux/ipv6.h>

/* Ethernet and IPv6 headers; the padding aligns the latter. */
struct frame6 {
	__u16 reserved;
	struct ethhdr eth;
	__be32 version_class_label;
	__be16 payload;
	__u8 next;
	__u8 hop_limit;
	union ip source;
	union ip destination;
};

/* Does the address lead to this endpoint? */
static __noinline int is_behind(const struct endpoint *ep, const union ip *ip, __u64 generation)
{
	struct place at;

	return !find(&at, ep->vni, ip, generation) && at.ifindex == ep->ifindex;
}

/* Is the address behind any endpoint of its VPC? */
static __noinline int is_shared(const struct endpoint *ep, const union ip *ip, __u64 generation)
{
	struct place at;

	return !locate_route(&at, ep->vni, ip, generation);
}

/* Is the source the endpoint's own, or in a network behind it? Says who it is to the rules. */
static __noinline int is_own_source(const struct endpoint *ep, struct packet *pkt)
{
	const struct rules *rules = &ep->rules[pkt->generation & 1];
	struct place at;

	if (pkt->family == 4 && same_ip(&pkt->source, &ep->address4)) {
		pkt->source_identity = rules->identity4;
		return 1;
	}
	if (pkt->family == 6 && same_ip(&pkt->source, &ep->address6)) {
		pkt->source_identity = rules->identity6;
		return 1;
	}
	if (find(&at, ep->vni, &pkt->source, pkt->generation) || at.ifindex != ep->ifindex)
		return 0;
	pkt->source_identity = at.identity;
	return 1;
}

/* Cuts off what Ethernet padded a short packet with. */
static __always_inline int trim(struct __sk_buff *skb, __u32 length)
{
	if (skb->len == length)
		return REASON_NONE;
	if (gso_size(skb) || bpf_skb_change_tail(skb, length, 0))
		return REASON_MALFORMED;
	return REASON_NONE;
}

/* What a router must refuse of an IPv4 header. Fills pkt. */
static __always_inline int parse_ipv4(struct __sk_buff *skb, const struct iphdr *ip,
				      struct packet *pkt, __u32 room)
{
	__u16 fragment = bpf_ntohs(ip->frag_off);
	__u32 sum = 0;
	int reason = REASON_NONE;

	pkt->family = 4;
	pkt->length = bpf_ntohs(ip->tot_len);
	pkt->options = ip->ihl - 5;
	if (ip->version != 4 || ip->ihl < 5 || pkt->length < ip->ihl * 4 || pkt->length > room ||
	    !ip->ttl)
		return REASON_MALFORMED;
	if (pkt->options)
		reason = check_options(skb, ETH_HLEN + IPV4_HEADER, pkt->options, &sum);
	if (reason == REASON_MALFORMED || ip_checksum(ip, sum) || fragment & IP_RESERVED)
		return REASON_MALFORMED;
	map_ipv4(&pkt->source, ip->saddr);
	map_ipv4(&pkt->destination, ip->daddr);
	pkt->protocol = ip->protocol;
	pkt->checksum = ip->check;
	pkt->hop_limit = ip->ttl;
	pkt->class = ip->tos;
	pkt->dont_fragment = !!(fragment & IP_DF);
	pkt->identification = bpf_ntohs(ip->id);
	pkt->transport = pkt->fragmentable = ETH_HLEN + ip->ihl * 4;
	set_part(pkt, (fragment & IP_OFFSET) * 8, fragment & IP_MF);
	return reason;
}

/* The rest of a packet whose addresses are right. */
static __always_inline int read_transport(struct __sk_buff *skb, const struct endpoint *ep,
					  struct packet *pkt)
{
	__u32 end = ETH_HLEN + pkt->length;
	int reason = check_fragment(pkt, end);

	if (!reason && pkt->part != PART_LATER)
		reason = parse_transport(skb, pkt, end);
	if (!reason)
		reason = check_unfinished(skb, pkt, end);
	/* Kernels may write the checksum, or drop it, before they cut off where it belongs. */
	if (!reason)
		reason = trim(skb, end);
	if (!reason && pkt->part)
		reason = join_fragment(pkt, ep->id);
	return reason;
}

/* Fills pkt from an IPv4 frame of ep, or says what is wrong with it. */
static __noinline int read_ipv4(struct __sk_buff *skb, const struct endpoint *ep,
				struct packet *pkt)
{
	struct frame4 frame = {};
	int reason;

	if (bpf_skb_load_bytes(skb, 0, &frame.eth, ETH_HLEN + IPV4_HEADER))
		return REASON_MALFORMED;
	reason = parse_ipv4(skb, &frame.ip, pkt, skb->len - ETH_HLEN);
	if (reason == REASON_MALFORMED)
		return reason;
	/* Who it is from comes before what it is: a stranger's packets are a stranger's. */
	if (!is_own_source(ep, pkt))
		return REASON_SPOOFED_SOURCE;
	if (!source_mac_ok(ep, frame.eth.h_source, !pkt->traced))
		return REASON_SPOOFED_MAC;
	if (!is_unicast4(frame.ip.daddr))
		return REASON_MULTICAST;
	if (mac_of(frame.eth.h_dest) != GATEWAY_MAC)
		return REASON_NOT_GATEWAY;
	if (reason)
		return reason;
	return read_transport(skb, ep, pkt);
}

/* ICMPv6 that is between neighbours, and ends here: multicast reports and neighbour discovery. */
static __always_inline int is_link_control(const struct packet *pkt)
{
	if (pkt->protocol != IPPROTO_ICMPV6)
		return 0;
	return (pkt->icmp_type >= 130 && pkt->icmp_type <= 137) || pkt->icmp_type == 143;
}

#define ND_NEIGHBOR_ADVERTISEMENT 136

/* A neighbour may advertise from the very address that it takes over, which another still holds. */
static __always_inline int is_takeover(const struct endpoint *ep, const struct packet *pkt)
{
	return is_link_control(pkt) && pkt->icmp_type == ND_NEIGHBOR_ADVERTISEMENT &&
	       is_unicast6(&pkt->source) && is_shared(ep, &pkt->source, pkt->generation);
}

/*
 * Is an IPv6 frame from whom it should be, and to the gateway? A link-local source, or none, is
 * for neighbours only.
 */
static __always_inline int check_frame6(const struct endpoint *ep, const struct frame6 *frame,
					struct packet *pkt)
{
	int own = is_unicast6(&pkt->source) && is_own_source(ep, pkt);
	int local = is_link_local(&pkt->source) || !(pkt->source.halves[0] | pkt->source.halves[1]);

	if (is_overlay(&pkt->source) || is_overlay(&pkt->destination))
		return REASON_OVERLAY_ADDRESS;
	if (!own && !local && !is_takeover(ep, pkt))
		return REASON_SPOOFED_SOURCE;
	if (!source_mac_ok(ep, frame->eth.h_source, own && !pkt->traced))
		return REASON_SPOOFED_MAC;
	if (is_link_control(pkt))
		return REASON_NONE;
	if (!is_unicast6(&pkt->destination))
		return REASON_MULTICAST;
	if (!own)
		return REASON_SPOOFED_SOURCE;
	if (mac_of(frame->eth.h_dest) != GATEWAY_MAC)
		return REASON_NOT_GATEWAY;
	return REASON_NONE;
}

/* Fills pkt from an IPv6 frame of ep, or says what is wrong with it. */
static __noinline int read_ipv6(struct __sk_buff *skb, const struct endpoint *ep,
				struct packet *pkt)
{
	struct frame6 frame = {};
	__u32 end;
	int reason = REASON_NONE, forged;

	if (bpf_skb_load_bytes(skb, 0, &frame.eth, ETH_HLEN + IPV6_HEADER))
		return REASON_MALFORMED;
	pkt->family = 6;
	pkt->length = IPV6_HEADER + bpf_ntohs(frame.payload);
	end = ETH_HLEN + pkt->length;
	if (bpf_ntohl(frame.version_class_label) >> 28 != 6 || end > skb->len || !frame.hop_limit)
		return REASON_MALFORMED;
	pkt->source = frame.source;
	pkt->destination = frame.destination;
	pkt->protocol = frame.next;
	pkt->hop_limit = frame.hop_limit;
	pkt->class = bpf_ntohl(frame.version_class_label) >> 20;
	pkt->transport = ETH_HLEN + IPV6_HEADER;
	if (is_extension(pkt->protocol))
		reason = walk_extensions(skb, pkt, end);
	if (!reason && pkt->protocol == IPPROTO_ICMPV6 && !pkt->part &&
	    bpf_skb_load_bytes(skb, pkt->transport, &pkt->icmp_type, 1))
		reason = REASON_MALFORMED;
	forged = check_frame6(ep, &frame, pkt);
	if (forged)
		return forged;
	if (reason)
		return reason;
	return read_transport(skb, ep, pkt);
}
