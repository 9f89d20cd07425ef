// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * Tunnel devices have no link header; but in front of what came out of ESP, the kernel leaves that of
 * the packet which the ESP was in, whatever the underlay's device has. Here they become one kind.
 */
#pragma once

#include "overlay.h"

/* The overlay's header, wherever it is. */
static __always_inline int find_header(struct __sk_buff *skb, struct overlay_header *h)
{
	if (bpf_skb_load_bytes_relative(skb, 0, h, IPV6_HEADER, BPF_HDR_START_NET))
		return -1;
	return bpf_ntohl(h->version_class_label) >> 28 == 6 ? 0 : -1;
}

/*
 * Gives the packet an Ethernet header, of zeros, if it has no link header. How long that is follows
 * from the packet's length, which is the sender's word, so there has to be the same header.
 */
static __noinline int level(struct __sk_buff *skb, const struct overlay_header *h)
{
	__u32 link = skb->len - IPV6_HEADER - bpf_ntohs(h->payload);
	struct overlay_header there;

	if (link > ETH_HLEN || bpf_skb_load_bytes(skb, link, &there, IPV6_HEADER))
		return REASON_MALFORMED;
	if (there.version_class_label != h->version_class_label || there.payload != h->payload ||
	    there.source.prefix != h->source.prefix ||
	    there.source.kind_vni != h->source.kind_vni ||
	    there.source.address != h->source.address ||
	    there.destination.prefix != h->destination.prefix)
		return REASON_MALFORMED;
	if (link < ETH_HLEN && bpf_skb_change_head(skb, ETH_HLEN - link, 0))
		return REASON_TRANSLATION;
	return REASON_NONE;
}
