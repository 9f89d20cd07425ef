// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * Which peer a packet is from. Other tunnels bring what is from their peers' own addresses alone; the
 * kernel's IPsec compares only when a packet goes on into the host's stack, behind this program. So
 * the SA that it came out of is looked at, whose request id is its peer's.
 */
#pragma once

#include "trace.h"

/* SAs that a packet may have come out of, one inside the other (XFRM_MAX_DEPTH of net/xfrm.h). */
#define MOST_STATES 6

/* Cleared for kernels without IPsec, which do not have the helper. */
const volatile __u32 sees_states = 1;

/*
 * The request id of the SA that a packet came out of last: the host may have others around the
 * tunnel's. There is none for what came out of no SA.
 */
static __always_inline int find_reqid(struct __sk_buff *skb, __u32 *reqid)
{
	struct bpf_xfrm_state sa;
	int i;

	for (i = 0; i < MOST_STATES; i++) {
		if (bpf_skb_get_xfrm_state(skb, i, &sa, sizeof(sa), 0))
			break;
		*reqid = sa.reqid;
	}
	return i;
}

/* Was a packet sent by the node whose /64 its source is in, as far as IPsec has to say so? */
static __noinline int is_of_peer(struct __sk_buff *skb, __u64 prefix)
{
	struct state *state = the_state();
	struct node *node;
	__u32 reqid = 0;

	/* A made packet comes out of nothing. */
	if (!sees_states || is_traced(skb))
		return 1;
	if (!find_reqid(skb, &reqid))
		return state && skb->ifindex != state->xfrm_ifindex;
	node = bpf_map_lookup_elem(&nodes, &prefix);
	return node && reqid && node->reqid == reqid;
}
