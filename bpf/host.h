// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* What peers may ask of this host itself: to answer a ping. */
#pragma once

#include "counters.h"
#include "parse.h"

/* The errors that RFC 4443 defines are 1 to this. */
#define HOST_LAST_ERROR 4

/* A packet between two nodes' own addresses. */
static __always_inline int handle_host(struct __sk_buff *skb, const struct overlay_header *h)
{
	__u8 type;

	if (h->destination.kind_vni || h->destination.address != bpf_htonl(1))
		return drop(NOBODY, REASON_FOREIGN_DESTINATION);
	if (h->source.kind_vni || h->source.address != bpf_htonl(1))
		return drop(NOBODY, REASON_NOT_OWNER);
	if (h->protocol != IPPROTO_ICMPV6)
		return drop(NOBODY, REASON_HOST_SERVICE);
	if (bpf_skb_load_bytes(skb, tunnel_header + IPV6_HEADER, &type, 1))
		return drop(NOBODY, REASON_MALFORMED);
	if ((type && type <= HOST_LAST_ERROR) || type == ICMPV6_ECHO_REQUEST ||
	    type == ICMPV6_ECHO_REPLY)
		return TC_ACT_OK;
	return drop(NOBODY, REASON_HOST_SERVICE);
}
