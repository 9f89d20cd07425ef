// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* The gateway speaks: it answers pings, and says why a packet went no further. */
#pragma once

#include "counters.h"
#include "read.h"

#define ICMP_FRAGMENTATION_NEEDED 4 /* code of ICMP_UNREACHABLE */
#define ICMP_HOST_UNREACHABLE	  1 /* code of ICMP_UNREACHABLE */
#define ICMPV6_UNREACHABLE	  1
#define ICMPV6_NO_ADDRESS	  3 /* code of ICMPV6_UNREACHABLE */
#define ICMPV6_PACKET_TOO_BIG	  2
#define ICMPV6_TIME_EXCEEDED	  3

#define REPLY_TTL   64
#define ICMP_HEADER 8
#define MAX_QUOTED  512 /* bytes: what bpf_csum_diff takes; both families allow more */

/*
 * Room to write an error: it ends in what it quotes, so that a header of either family stands right
 * before it.
 */
struct reply {
	__u8 reserved[2 + ETH_HLEN + IPV6_HEADER];
	__u8 type;
	__u8 code;
	__sum16 checksum;
	__be32 rest; /* an MTU, or 0 */
	__u8 quoted[MAX_QUOTED];
};

#define REPLY_FRAME4 (2 + IPV6_HEADER - IPV4_HEADER)
#define REPLY_FRAME6 2

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct reply);
} replies SEC(".maps");

/* An error about an error would go round; one about a later fragment would tell nobody. */
static __always_inline int may_answer(const struct packet *pkt)
{
	if (pkt->part == PART_LATER)
		return 0;
	if (pkt->protocol == IPPROTO_ICMPV6)
		return pkt->icmp_type > ICMPV6_LAST_ERROR;
	return pkt->protocol != IPPROTO_ICMP || pkt->icmp_type == ICMP_ECHO_REQUEST ||
	       pkt->icmp_type == ICMP_ECHO_REPLY;
}

static __always_inline void reply_header4(struct reply *r, const struct packet *pkt,
					  const struct endpoint *ep, __u32 quoted)
{
	struct iphdr *ip = (void *)r + REPLY_FRAME4 + ETH_HLEN;

	*ip = (struct iphdr){
		.version = 4,
		.ihl = 5,
		.tot_len = bpf_htons(IPV4_HEADER + ICMP_HEADER + quoted),
		.ttl = REPLY_TTL,
		.protocol = IPPROTO_ICMP,
		.saddr = ep->gateway4.words[3],
		.daddr = pkt->source.words[3],
	};
	ip->check = ip_checksum(ip, 0);
}

/* Returns the sum of the pseudo header's part that the addresses are not. */
static __always_inline __u32 reply_header6(struct reply *r, const struct packet *pkt,
					   const struct endpoint *ep, __u32 quoted)
{
	struct overlay_header *ip = (void *)r + REPLY_FRAME6 + ETH_HLEN;

	ip->version_class_label = bpf_htonl(6U << 28);
	ip->payload = bpf_htons(ICMP_HEADER + quoted);
	ip->protocol = IPPROTO_ICMPV6;
	ip->hop_limit = REPLY_TTL;
	__builtin_memcpy(&ip->source, &ep->gateway6, sizeof(union ip));
	__builtin_memcpy(&ip->destination, &pkt->source, sizeof(union ip));
	return bpf_htons(ICMP_HEADER + quoted) + bpf_htons(IPPROTO_ICMPV6);
}

/* Writes the error about the packet in skb, and returns the length of what it quotes or 0. */
static __noinline __u32 write_error(struct __sk_buff *skb, const struct packet *pkt,
				    const struct endpoint *ep, struct reply *r)
{
	__u32 length = pkt->length < MAX_QUOTED ? pkt->length : MAX_QUOTED;
	__u32 more = length - IPV4_HEADER, quoted;
	__u64 sum;

	/* Compared once and added to, which kernels like 6.1 follow. */
	barrier_var(more);
	if (more > MAX_QUOTED - IPV4_HEADER)
		return 0;
	length = more + IPV4_HEADER;
	quoted = (length + 3) & ~3U;
	if (quoted > MAX_QUOTED)
		return 0;
	*(__u32 *)(r->quoted + ((length - 1) & (MAX_QUOTED - 4))) = 0;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, r->quoted, length))
		return 0;
	r->checksum = 0;
	if (pkt->family == 4) {
		reply_header4(r, pkt, ep, quoted);
		sum = 0;
	} else {
		sum = reply_header6(r, pkt, ep, quoted);
		sum += (__u32)bpf_csum_diff(NULL, 0, (void *)r + REPLY_FRAME6 + ETH_HLEN + 8,
					    2 * sizeof(union ip), 0);
	}
	sum += (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&r->type, ICMP_HEADER, 0);
	sum += (__u32)bpf_csum_diff(NULL, 0, (__be32 *)r->quoted, quoted, 0);
	r->checksum = ~fold(sum);
	return quoted;
}

/*
 * Puts the error in the packet's place. What is cut off in front takes the mark of a checksum that is
 * still to be computed with it, which would be computed into the error otherwise.
 */
static __always_inline int replace_packet(struct __sk_buff *skb, const struct packet *pkt,
					  struct reply *r, __u32 quoted)
{
	__u32 start = pkt->family == 4 ? REPLY_FRAME4 : REPLY_FRAME6;
	__u32 total = offsetof(struct reply, quoted) + quoted - start;
	__u32 cut = pkt->transport + 4; /* the kernel counts from the Ethernet header on */

	if (cut > 0xfff || start > REPLY_FRAME4 || total > sizeof(*r) - REPLY_FRAME4 + 20)
		return -1;
	if (bpf_skb_change_tail(skb, total + cut, 0) ||
	    bpf_skb_adjust_room(skb, -(__s32)cut, BPF_ADJ_ROOM_MAC, 0))
		return -1;
	return bpf_skb_store_bytes(skb, 0, (void *)r + start, total, 0);
}

/* What refuse() says where a packet is not too big for a path. */
#define EXPIRED	    0
#define UNREACHABLE 0xffffffff

/*
 * Drops a packet for a reason, and tells its sender by an ICMP error: that the path takes mtu bytes, or
 * what stands for no MTU. A sender gets at most one for each packet of its own: it can make another
 * endpoint get none.
 */
static __noinline int refuse(struct __sk_buff *skb, const struct packet *pkt,
			     const struct endpoint *ep, __u32 reason, __u32 mtu)
{
	__u32 zero = 0, quoted;
	__u8 *eth;
	struct reply *r = bpf_map_lookup_elem(&replies, &zero);
	int speaks = pkt->family == 4 ? !!ep->gateway4.words[3] : !!ep->gateway6.halves[0];
	int verdict;

	if (pkt->traced)
		return drop(ep->slot, reason);
	verdict = settle(skb, drop(ep->slot, reason), EGRESS);
	if (!r || !speaks || !may_answer(pkt))
		return verdict;
	r->rest = 0;
	r->code = 0;
	if (mtu == EXPIRED) {
		r->type = pkt->family == 4 ? ICMP_TIME_EXCEEDED : ICMPV6_TIME_EXCEEDED;
	} else if (mtu == UNREACHABLE) {
		r->type = pkt->family == 4 ? ICMP_UNREACHABLE : ICMPV6_UNREACHABLE;
		r->code = pkt->family == 4 ? ICMP_HOST_UNREACHABLE : ICMPV6_NO_ADDRESS;
	} else {
		r->rest = bpf_htonl(mtu);
		r->type = pkt->family == 4 ? ICMP_UNREACHABLE : ICMPV6_PACKET_TOO_BIG;
		r->code = pkt->family == 4 ? ICMP_FRAGMENTATION_NEEDED : 0;
	}
	quoted = write_error(skb, pkt, ep, r);
	if (!quoted)
		return verdict;
	eth = (__u8 *)r + (pkt->family == 4 ? REPLY_FRAME4 : REPLY_FRAME6);
	if (bpf_skb_load_bytes(skb, ETH_ALEN, eth, ETH_ALEN))
		return verdict;
	set_gateway_mac(eth + ETH_ALEN);
	eth[12] = pkt->family == 4 ? ETH_P_IP >> 8 : ETH_P_IPV6 >> 8;
	eth[13] = pkt->family == 4 ? ETH_P_IP & 0xff : ETH_P_IPV6 & 0xff;
	if (replace_packet(skb, pkt, r, quoted))
		return verdict;
	return bpf_redirect(skb->ifindex, 0);
}

/* Turns a ping of the gateway into its answer; the checksums mend themselves but for the type. */
static __noinline int handle_gateway(struct __sk_buff *skb, const struct packet *pkt,
				     const struct endpoint *ep)
{
	__u8 reply = pkt->family == 4 ? ICMP_ECHO_REPLY : ICMPV6_ECHO_REPLY;
	__be16 before = bpf_htons(pkt->icmp_type << 8), after = bpf_htons(reply << 8);
	__u32 size = pkt->family == 4 ? 4 : 16;
	__u8 eth[2 * ETH_ALEN];
	union ip swapped[2];

	if (pkt->part || pkt->options ||
	    (pkt->family == 4 &&
	     (pkt->protocol != IPPROTO_ICMP || pkt->icmp_type != ICMP_ECHO_REQUEST)) ||
	    (pkt->family == 6 &&
	     (pkt->protocol != IPPROTO_ICMPV6 || pkt->icmp_type != ICMPV6_ECHO_REQUEST)))
		return drop(ep->slot, REASON_GATEWAY);
	if (pkt->traced)
		return trace_end_at_gateway();
	swapped[0] = pkt->destination;
	swapped[1] = pkt->source;
	set_gateway_mac(eth + ETH_ALEN);
	if (bpf_skb_load_bytes(skb, ETH_ALEN, eth, ETH_ALEN) ||
	    bpf_skb_store_bytes(skb, 0, eth, sizeof(eth), 0))
		return drop(ep->slot, REASON_TRANSLATION);
	if (size == 4 ? bpf_skb_store_bytes(skb, ETH_HLEN + 12, &swapped[0].words[3], 4, 0) ||
				bpf_skb_store_bytes(skb, ETH_HLEN + 16, &swapped[1].words[3], 4, 0)
		      : bpf_skb_store_bytes(skb, ETH_HLEN + 8, swapped, sizeof(swapped), 0))
		return drop(ep->slot, REASON_TRANSLATION);
	if (bpf_l4_csum_replace(skb, pkt->transport + 2, before, after, 2) ||
	    bpf_skb_store_bytes(skb, pkt->transport, &reply, 1, 0))
		return drop(ep->slot, REASON_TRANSLATION);
	return bpf_redirect(skb->ifindex, 0);
}
