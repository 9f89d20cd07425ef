// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* Neighbour discovery is for IPv6 what ARP is for IPv4: answered or ended here (RFC 4861). */
#pragma once

#include "counters.h"
#include "read.h"

#define ND_ROUTER_SOLICITATION	 133
#define ND_ROUTER_ADVERTISEMENT	 134
#define ND_NEIGHBOR_SOLICITATION 135
#define ND_REDIRECT		 137

/* Of an advertisement: from a router, asked for, and to replace what was known. */
#define ND_ROUTER    0x80000000
#define ND_SOLICITED 0x40000000
#define ND_OVERRIDE  0x20000000

#define ND_HOP_LIMIT  255
#define ND_TARGET_MAC 2 /* the option */
#define ND_LEAST      24 /* bytes of a solicitation or advertisement without options */
#define ND_TTL_OFFSET 21

/* A neighbour advertisement with the option that says the MAC; the padding aligns. */
struct advertisement {
	struct frame6 frame;
	__u8 type;
	__u8 code;
	__sum16 checksum;
	__be32 flags;
	union ip target;
	__u8 option;
	__u8 option_length; /* in 8 bytes */
	__u8 mac[6];
};

#define ADVERTISEMENT	    (sizeof(struct advertisement) - 2)
#define ADVERTISEMENT_ICMP6 (ND_LEAST + 8)

/* Answers for the target, to whoever asked. */
static __noinline int nd_answer(struct __sk_buff *skb, const struct packet *pkt,
				const union ip *target)
{
	int asked = pkt->source.halves[0] | pkt->source.halves[1] ? 1 : 0;
	struct advertisement out = {
		.frame.eth.h_proto = bpf_htons(ETH_P_IPV6),
		.frame.version_class_label = bpf_htonl(6U << 28),
		.frame.payload = bpf_htons(ADVERTISEMENT_ICMP6),
		.frame.next = IPPROTO_ICMPV6,
		.frame.hop_limit = ND_HOP_LIMIT,
		.type = ND_NEIGHBOR_ADVERTISEMENT,
		.flags = bpf_htonl(ND_ROUTER | ND_OVERRIDE | (asked ? ND_SOLICITED : 0)),
		.option = ND_TARGET_MAC,
		.option_length = 1,
	};
	__u64 sum = bpf_htonl(ADVERTISEMENT_ICMP6) + (__u64)bpf_htonl(IPPROTO_ICMPV6);

	out.frame.source = *target;
	out.target = *target;
	out.frame.destination = pkt->source;
	if (!asked) {
		/* All nodes on the link. */
		out.frame.destination.words[0] = bpf_htonl(0xff020000);
		out.frame.destination.words[3] = bpf_htonl(1);
	}
	if (bpf_skb_load_bytes(skb, ETH_ALEN, out.frame.eth.h_dest, ETH_ALEN))
		return REASON_MALFORMED;
	set_gateway_mac(out.frame.eth.h_source);
	set_gateway_mac(out.mac);
	sum += (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&out.frame.source,
				    2 * sizeof(union ip) + ADVERTISEMENT_ICMP6, 0);
	out.checksum = ~fold(sum);
	if (bpf_skb_change_tail(skb, ADVERTISEMENT, 0) ||
	    bpf_skb_store_bytes(skb, 0, &out.frame.eth, ADVERTISEMENT, 0))
		return REASON_TRANSLATION;
	return REASON_NONE;
}

/* An advertisement: what it may speak of is the endpoint's. */
static __always_inline int nd_heard(const struct packet *pkt, const struct endpoint *ep,
				    const union ip *target)
{
	if (is_link_local(target) || is_behind(ep, target, pkt->generation))
		return TC_ACT_SHOT;
	/* Another holds it: whether this endpoint may take it over is not decided here. */
	if (is_unicast6(target) && is_shared(ep, target, pkt->generation)) {
		announce(ep, target);
		return TC_ACT_SHOT;
	}
	return drop(ep->slot, REASON_SPOOFED_SOURCE);
}

/* Neighbour discovery and multicast reports. Nothing of it is passed on. */
static __noinline int handle_nd(struct __sk_buff *skb, const struct packet *pkt,
				const struct endpoint *ep)
{
	union ip target;
	int reason;

	if (pkt->icmp_type == ND_ROUTER_ADVERTISEMENT || pkt->icmp_type == ND_REDIRECT)
		return drop(ep->slot, REASON_NEIGHBOR_DISCOVERY);
	if (pkt->icmp_type != ND_NEIGHBOR_SOLICITATION &&
	    pkt->icmp_type != ND_NEIGHBOR_ADVERTISEMENT)
		return TC_ACT_SHOT;
	if (pkt->hop_limit != ND_HOP_LIMIT || pkt->icmp_code ||
	    pkt->transport != ETH_HLEN + IPV6_HEADER || pkt->length < IPV6_HEADER + ND_LEAST ||
	    bpf_skb_load_bytes(skb, pkt->transport + 8, &target, sizeof(target)))
		return drop(ep->slot, REASON_MALFORMED);
	if (pkt->icmp_type == ND_NEIGHBOR_ADVERTISEMENT)
		return nd_heard(pkt, ep, &target);
	/* Nobody else has its link-local addresses, nor its own. */
	if (!is_unicast6(&target) || is_link_local(&target) ||
	    is_behind(ep, &target, pkt->generation))
		return TC_ACT_SHOT;
	reason = nd_answer(skb, pkt, &target);
	if (reason)
		return drop(ep->slot, reason);
	return bpf_redirect(skb->ifindex, 0);
}
