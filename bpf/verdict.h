// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * A look-up of the policy, one or two of a row in its region, and a line for each level of a tree of
 * intervals, however many rules there are. A new flow finds little of it in the cache: what counts is
 * how many cache lines and pages are waited for one after another.
 */
#pragma once

#include "maps.h"
#include "parse.h"

#include <linux/types.h>

/* How many limits a port is beyond. They are in order. */
static __always_inline __u32 beyond(__u32 port, const __u16 *limits, __u32 count)
{
	__u32 i;

#pragma clang loop unroll(disable)
	for (i = 0; i < count; i++)
		if (port <= limits[i])
			break;
	return i;
}

/*
 * Where the verdicts of a policy are. One whose memory was given to another since it was found had
 * been out of force for longer than any packet is under way, so it is as good as none.
 */
static __always_inline int find_region(struct region *region, __u64 id, __u32 slot)
{
	struct policy *policy = bpf_map_lookup_elem(&policies, &id);
	union cell *cell;
	__u64 word;
	__u32 head;

	if (!policy)
		return 0;
	head = *(volatile __u32 *)&policy->heads[slot & 1];
	barrier();
	if (*(volatile __u64 *)&policy->id != id)
		return 0;
	cell = bpf_map_lookup_elem(&verdicts, &head);
	if (!cell)
		return 0;
	word = *(volatile __u64 *)&cell->region;
	region->first = word;
	region->homes = word >> 32;
	return region->homes != 0;
}

/* The place in a region where a verdict is looked for first. */
static __always_inline __u32 home(const struct region *region, __u64 identity, __u32 protocol)
{
	__u32 hash = ((__u32)(identity ^ identity >> 32) + protocol) * 0x9e3779b1U;

	return (__u64)hash * region->homes >> 32;
}

/* The cell of an identity's own row. at is where it looks, for the caller to lend. */
static __always_inline struct verdict *find_verdict(const struct region *region, __u32 *at,
						    __u64 identity, __u32 protocol)
{
	*at = region->first + home(region, identity, protocol);
#pragma clang loop unroll(disable)
	for (int i = 0; i < MOST_PROBES; i++) {
		union cell *cell = bpf_map_lookup_elem(&verdicts, at);
		struct verdict *verdict;
		__u32 state;

		if (!cell)
			return NULL;
		verdict = &cell->verdict;
		state = *(volatile __u32 *)&verdict->state;
		if (state == VERDICT_NONE)
			return NULL;
		if (!((verdict->identity ^ identity) | (verdict->protocol ^ protocol) |
		      (state ^ VERDICT_IS)))
			return verdict;
		++*at;
	}
	return NULL;
}

/* The rule of the interval around a port. */
static __always_inline __u32 rule_of(const union line *line, __u32 port)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i < LINE_INTERVALS; i++) {
		const struct interval *interval = &line->intervals[i];

		if (port <= interval->last)
			return port < interval->first ? RULE_DENIES : interval->rule;
	}
	return RULE_DENIES;
}

#define NOWHERE (~0ULL)

/*
 * Where a port of an identity is decided about. Identities that a policy has no row of share one for
 * each family: see REST. No table, no identity or no row is nowhere.
 */
__noinline __u64 find_line(__u64 policy, __u64 identity, __u32 protocol, __u32 port, __u32 slot)
{
	struct region region = {};
	struct verdict *verdict;
	struct span span;
	__u32 at = 0;

	if (!policy || identity == REST(identity) || !find_region(&region, policy, slot))
		return NOWHERE;
#pragma clang loop unroll(disable)
	for (int rows = 0; rows < 2; rows++) {
		verdict = find_verdict(&region, &at, identity, protocol);
		if (verdict) {
			__u32 child = beyond(port, verdict->limits[slot & 1], VERDICT_LIMITS);

			span = verdict->spans[slot & 1];
			barrier();
			/* One whose cell was given to another is as good as none. */
			if (span.lines && *(volatile __u64 *)&verdict->identity == identity &&
			    *(volatile __u32 *)&verdict->protocol == protocol)
				return (__u64)span.line << 32 | span.height << 16 | child;
		}
		identity = REST(identity);
	}
	return NOWHERE;
}

/* The rule of the interval around a port, from the line on that find_line() says. */
__noinline __u32 search(__u64 where, __u32 port)
{
	__u32 first = where >> 32, height = where >> 16 & 3, at = first + (where & 0xf);
	union line *line;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < MOST_FORKS && i < height; i++) {
		line = bpf_map_lookup_elem(&intervals, &at);
		if (!line)
			return RULE_DENIES;
		at = first + line->fork.child + beyond(port, line->fork.limits, FORK_LIMITS);
	}
	line = bpf_map_lookup_elem(&intervals, &at);
	return line ? rule_of(line, port) : RULE_DENIES;
}

/*
 * The number of the rule that decides, and RULE_DENIES if it says no. Nowhere is a no of the
 * default's, rule 0: an empty map isolates everything.
 */
static __always_inline __u32 decide(__u64 policy, __u64 identity, __u32 protocol, __u32 port,
				    __u32 slot)
{
	__u64 where = find_line(policy, identity, protocol, port, slot);

	return where == NOWHERE ? RULE_DENIES : search(where, port);
}
