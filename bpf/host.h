// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* What peers may ask of this host itself: to answer a ping. */
#pragma once

#include "counters.h"
#include "translate.h"

/* The errors that RFC 4443 defines are 1 to this. */
#define HOST_LAST_ERROR 4

/*
 * An echo request of this code asks how large a packet gets here. It is filled with zeros, and its
 * first bytes are answer enough.
 */
#define ECHO_SIZE	 1
#define ECHO_SIZE_ANSWER 24

/*
 * Answers a peer that asks how large a packet gets here: what comes back need not be as large, or
 * the narrower of both ways would be found. What is not answered here the host's stack answers whole.
 */
static __noinline int answer_size(struct __sk_buff *skb, const struct overlay_header *h)
{
	struct {
		__u8 hop_limit;
		struct overlay_address source;
		struct overlay_address destination;
		__be16 type_code;
		__sum16 checksum;
	} __attribute__((packed)) out = {.hop_limit = OUTER_HOP_LIMIT};
	__be16 asked = bpf_htons(ICMPV6_ECHO_REQUEST << 8 | ECHO_SIZE);
	__be16 length = bpf_htons(ECHO_SIZE_ANSWER);
	__u64 sum;

	if (bpf_ntohs(h->payload) < ECHO_SIZE_ANSWER || h->source.prefix == node_prefix ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + IPV6_HEADER, &out.type_code, 4) ||
	    bpf_skb_change_tail(skb, ETH_HLEN + IPV6_HEADER + ECHO_SIZE_ANSWER, 0))
		return TC_ACT_OK;
	out.source = h->destination;
	out.destination = h->source;
	out.type_code = bpf_htons(ICMPV6_ECHO_REPLY << 8 | ECHO_SIZE);
	/* The addresses add up as before, and zeros to nothing. */
	sum = (__u16)~out.checksum + (__u16)~asked + out.type_code + (__u16)~h->payload + length;
	out.checksum = ~fold(sum);
	if (bpf_skb_store_bytes(skb, ETH_HLEN + 4, &length, sizeof(length), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN + 7, &out, sizeof(out), 0))
		return drop(NOBODY, REASON_TRANSLATION);
	return bpf_redirect(skb->ifindex, 0);
}

/* A packet between two nodes' own addresses. */
static __always_inline int handle_host(struct __sk_buff *skb, const struct overlay_header *h)
{
	__u8 type_code[2] = {}, type;

	if (h->destination.kind_vni || h->destination.address != bpf_htonl(1))
		return drop(NOBODY, REASON_FOREIGN_DESTINATION);
	if (h->source.kind_vni || h->source.address != bpf_htonl(1))
		return drop(NOBODY, REASON_NOT_OWNER);
	if (h->protocol != IPPROTO_ICMPV6)
		return drop(NOBODY, REASON_HOST_SERVICE);
	if (bpf_skb_load_bytes(skb, ETH_HLEN + IPV6_HEADER, type_code, 2))
		return drop(NOBODY, REASON_MALFORMED);
	type = type_code[0];
	if (type == ICMPV6_ECHO_REQUEST && type_code[1] == ECHO_SIZE && !is_traced(skb))
		return answer_size(skb, h);
	if ((type && type <= HOST_LAST_ERROR) || type == ICMPV6_ECHO_REQUEST ||
	    type == ICMPV6_ECHO_REPLY)
		return TC_ACT_OK;
	return drop(NOBODY, REASON_HOST_SERVICE);
}
