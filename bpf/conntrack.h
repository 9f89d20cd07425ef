// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * Flows, as each endpoint sees them. A flow that a policy once permitted is asked about again, in the
 * direction in which it began, when the policies have changed since. One that is no longer
 * permitted stays in the table, refused: otherwise the answers of a server whose ingress was
 * closed would begin a new flow outwards, and reopen it.
 */
#pragma once

#include "budget.h"
#include "recall.h"
#include "related.h"
#include "shadow.h"
#include "tcp.h"
#include "trace.h"

/* ICMP that has no flow of its own. */
static __always_inline int stateless(struct __sk_buff *skb, const struct packet *pkt,
				     const struct endpoint *ep, struct judgement *j,
				     __u32 direction)
{
	if (is_icmp_error(pkt) && (direction == EGRESS || is_on_the_way(skb, pkt)) &&
	    related(skb, pkt, ep->id, direction))
		return REASON_NONE;
	j->port = pkt->icmp_type << 8 | pkt->icmp_code;
	return judge(pkt, ep, j, direction, JUDGE_NEW);
}

/* Goes on with a flow that passes. */
static __noinline int go_on(struct __sk_buff *skb, struct flow *flow, const struct packet *pkt,
			    __u32 direction)
{
	if (since(flow->seen) > SECOND)
		flow->seen = bpf_ktime_get_coarse_ns();
	if (pkt->protocol == IPPROTO_TCP)
		return track_tcp(skb, flow, pkt, direction);
	advance(flow, direction);
	return REASON_NONE;
}

/* A flow that is in the table and has not run out. */
static __always_inline int known(struct __sk_buff *skb, struct flow *flow, const struct packet *pkt,
				 const struct endpoint *ep, struct judgement *j, __u32 direction)
{
	int reason;

	if (flow->generation != pkt->generation) {
		reason = judge(pkt, ep, j, direction, JUDGE_AGAIN);
		if (reason || pkt->traced)
			return reason;
		flow->rule = j->rule;
		remember(flow, pkt, ep->id, direction);
		flow->generation = pkt->generation;
	} else if (!flow->place && !pkt->traced) {
		remember(flow, pkt, ep->id, direction);
	}
	if (pkt->traced) {
		trace_flow(pkt, ep->id, flow, direction);
		return REASON_NONE;
	}
	return go_on(skb, flow, pkt, direction);
}

/*
 * Puts a flow that the rules permit into the table. It is static so that the verifier knows the key
 * for the caller's stack: kernels like 6.1 take no key from memory that they know by its size only.
 */
static __noinline int insert_flow(const struct packet *pkt, const struct flow_key *key,
				  const struct judgement *j)
{
	struct flow fresh = {};

	if (!pkt || !key || !j)
		return -1;
	fresh.generation = pkt->generation;
	fresh.seen = fresh.began = bpf_ktime_get_coarse_ns();
	remember(&fresh, pkt, key->endpoint, j->origin);
	fresh.rule = j->rule;
	fresh.origin = j->origin;
	fresh.state = first_state(pkt->protocol);
	return bpf_map_update_elem(&flows, key, &fresh, BPF_ANY);
}

/* Begins a flow that the rules permit; flow is what the table has of it. */
static __always_inline int begin_flow(struct __sk_buff *skb, struct flow *flow,
				      const struct flow_key *key, const struct packet *pkt,
				      const struct endpoint *ep, const struct judgement *j)
{
	if (!flow && !has_room(ep))
		return REASON_FLOW_BUDGET;
	if (insert_flow(pkt, key, j))
		return REASON_FLOW_BUDGET;
	if (!flow)
		charge(ep, key);
	flow = pkt->protocol == IPPROTO_TCP ? bpf_map_lookup_elem(&flows, key) : NULL;
	if (flow)
		begin_tcp(skb, flow, pkt, j->origin);
	report_flow(pkt, j, EVENT_FLOW);
	return REASON_NONE;
}

/*
 * Does pkt, which goes in direction as ep sees it, pass? Returns a reason if not. flow is what
 * flow_of() has found.
 */
static __noinline enum reason track(struct __sk_buff *skb, const struct packet *pkt,
				    const struct endpoint *ep, __u32 direction, struct flow *flow)
{
	struct judgement j = {.origin = direction};
	struct flow_key key = {};
	int alive, reason;

	/* A packet of another generation may have been at the flow since. */
	if (flow && pkt->recalled)
		return go_on(skb, flow, pkt, direction);
	j.identity = direction == EGRESS ? pkt->destination_identity : pkt->source_identity;
	if (is_icmp(pkt->protocol) && !is_echo(pkt->protocol, pkt->icmp_type))
		return stateless(skb, pkt, ep, &j, direction);
	flow_key_of(&key, pkt, ep, direction);
	alive = flow && is_alive(flow);
	/* The same ports again: a connection of its own once the old one has ended. */
	if (alive && !(opens(pkt) && (is_ending(flow->state) || flow->origin != direction))) {
		j.origin = flow->origin;
		j.port = rule_port(&key, flow->origin);
		return known(skb, flow, pkt, ep, &j, direction);
	}
	if (is_icmp(pkt->protocol) && is_reply(pkt->protocol, pkt->icmp_type))
		return REASON_NO_FLOW;
	j.port = rule_port(&key, direction);
	reason = judge(pkt, ep, &j, direction, JUDGE_NEW);
	/* Whoever opens towards a live flow's opener passes by rule, and leaves that flow alone. */
	if (reason || pkt->traced || (alive && !is_ending(flow->state)))
		return reason;
	return begin_flow(skb, flow, &key, pkt, ep, &j);
}
