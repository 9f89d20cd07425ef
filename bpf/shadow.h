// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * What the rules say of a flow, and what candidate rules would say. Candidates are asked when a
 * flow is judged, never for a packet of one that is known.
 */
#pragma once

#include "trace.h"
#include "verdict.h"

enum judgement_flag {
	JUDGE_NEW = 1, /* counts for the rule */
	JUDGE_AGAIN = 0,
};

static __always_inline struct rule *rule_by(__u32 number)
{
	number &= ~RULE_DENIES;
	return bpf_map_lookup_elem(&known_rules, &number);
}

/* A rule has decided about a new flow. */
static __always_inline void count_hit(__u32 number)
{
	__u32 page = (number & ~RULE_DENIES) / HITS_IN_PAGE;
	struct hit_page *counts = bpf_map_lookup_elem(&hits, &page);

	if (counts)
		counts->flows[number % HITS_IN_PAGE]++;
}

/* Counts for the rules of both sides that the candidates judge otherwise. */
__noinline int count_difference(const struct judgement *j)
{
	struct rule *live, *candidate;
	struct account *account;
	__u32 slot;
	int drops;

	if (!j)
		return 0;
	slot = j->slot;
	drops = !!(j->shadow_rule & RULE_DENIES);
	live = rule_by(j->rule);
	candidate = rule_by(j->shadow_rule);
	account = bpf_map_lookup_elem(&accounts, &slot);
	if (live == candidate)
		candidate = NULL;
	if (account && drops)
		account->shadow_drops++;
	if (account && !drops)
		account->shadow_allows++;
	if (live)
		__sync_fetch_and_add(drops ? &live->shadow_drops : &live->shadow_allows, 1);
	if (candidate)
		__sync_fetch_and_add(drops ? &candidate->shadow_drops : &candidate->shadow_allows,
				     1);
	return 0;
}

/* Asks the rules in force, and candidates if there are any. Returns a reason if it is no. */
static __noinline int judge(const struct packet *pkt, const struct endpoint *ep,
			    struct judgement *j, __u32 direction, __u32 flags)
{
	__u32 slot = pkt->generation & 1;
	const struct rules *rules = &ep->rules[slot];
	__u32 protocol = rule_protocol(pkt->protocol);
	int out = j->origin == EGRESS;
	__u64 policy = out ? rules->egress : rules->ingress;
	__u64 candidate = out ? rules->shadow_egress : rules->shadow_ingress;

	j->slot = ep->slot;
	j->endpoint = ep->id;
	j->rule = decide(policy, j->identity, protocol, j->port, slot);
	j->shadow_rule = j->rule;
	if (candidate)
		j->shadow_rule = decide(candidate, j->identity, protocol, j->port, slot);
	if (pkt->traced) {
		trace_judgement(pkt, j, policy, direction);
	} else {
		if (flags & JUDGE_NEW)
			count_hit(j->rule);
		if ((j->rule ^ j->shadow_rule) & RULE_DENIES) {
			count_difference(j);
			report_flow(pkt, j,
				    EVENT_SHADOW | (direction == j->origin ? 0 : EVENT_OF_ANSWER));
		}
	}
	if (!(j->rule & RULE_DENIES))
		return REASON_NONE;
	return out ? REASON_NO_EGRESS_RULE : REASON_NO_INGRESS_RULE;
}
