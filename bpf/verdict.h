// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* At most three look-ups and a binary search, however many rules there are. */
#pragma once

#include "maps.h"
#include "parse.h"

#include <linux/types.h>

/* Halvings of at most 65,536 ports. */
#define SEARCH_STEPS 17

/*
 * What a policy says of an identity. A row whose memory was given to another since it was found had
 * been empty for longer than any packet is under way, so it is as good as none.
 */
static __always_inline int find_span(struct span *span, __u64 policy, __u64 identity,
				     __u32 protocol, __u32 slot)
{
	struct verdict_key key = {
		.policy = policy,
		.identity = identity,
		.protocol = protocol,
	};
	struct verdict *verdict = bpf_map_lookup_elem(&verdicts, &key);

	if (!verdict)
		return 0;
	*span = verdict->spans[slot & 1];
	barrier();
	if (*(volatile __u64 *)&verdict->key.policy != policy ||
	    *(volatile __u64 *)&verdict->key.identity != identity) {
		span->count = 0;
		return 0;
	}
	return span->count != 0;
}

/*
 * The number of the rule that decides, and RULE_DENIES if it says no. No table, no identity or no
 * interval is a no of the default's, rule 0: an empty map isolates everything. Identities that a
 * policy has no row of share one for each family: see REST.
 */
__noinline __u32 decide(__u64 policy, __u64 identity, __u32 protocol, __u32 port, __u32 slot)
{
	struct span span = {};
	__u32 low = 0, high;

	if (!policy || identity == REST(identity))
		return RULE_DENIES;
	if (!find_span(&span, policy, identity, protocol, slot))
		find_span(&span, policy, REST(identity), protocol, slot);
	high = span.count;
	for (int i = 0; i < SEARCH_STEPS && low < high; i++) {
		__u32 middle = (low + high) / 2;
		__u32 index = span.offset + middle;
		struct interval *interval = bpf_map_lookup_elem(&intervals, &index);

		if (!interval)
			return RULE_DENIES;
		if (port < interval->first)
			high = middle;
		else if (port > interval->last)
			low = middle + 1;
		else
			return interval->rule;
	}
	return RULE_DENIES;
}
