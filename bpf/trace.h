// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * A made packet goes the way of all others and is dropped at its end: it is not counted, begins no
 * flow, is not rewritten, and leaves behind what was decided about it. It is known by a mark that
 * no tenant can set: a mark does not leave a namespace, a guest or a wire. And whoever could would
 * gain a drop.
 */
#pragma once

#include "flow.h"
#include "maps.h"

#include <linux/pkt_cls.h>

/* Is it made, to see what would become of it? */
static __always_inline int is_traced(const struct __sk_buff *skb)
{
	struct state *state;

	if (!skb->mark)
		return 0;
	state = the_state();
	return state && skb->mark == state->trace_mark;
}

static __always_inline struct trace *the_trace(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&traces, &zero);
}

/* What the rules of ep say. */
__noinline int trace_judgement(const struct packet *pkt, const struct judgement *j, __u64 policy,
			       __u32 direction)
{
	struct trace *trace = the_trace();
	struct trace_side *side;

	if (!pkt || !j || !trace)
		return 0;
	trace->generation = pkt->generation;
	side = &trace->sides[direction & 1];
	side->policy = policy;
	side->identity = j->identity;
	side->endpoint = j->endpoint;
	side->by = TRACE_RULES;
	side->rule = j->rule;
	side->shadow_rule = j->shadow_rule;
	side->port = j->port;
	side->protocol = rule_protocol(pkt->protocol);
	side->origin = j->origin;
	return 0;
}

/* A flow carries it, or is what it is about. */
__noinline int trace_flow(const struct packet *pkt, __u32 endpoint, const struct flow *flow,
			  __u32 direction)
{
	struct trace *trace = the_trace();
	struct trace_side *side;

	if (!pkt || !flow || !trace)
		return 0;
	trace->generation = pkt->generation;
	side = &trace->sides[direction & 1];
	side->endpoint = endpoint;
	side->by = is_icmp_error(pkt) ? TRACE_RELATED : TRACE_FLOW;
	side->rule = flow->rule;
	side->origin = flow->origin;
	side->state = flow->state;
	return 0;
}

/* The end of a made packet. */
__noinline int end_trace(int verdict, __u32 reason, __u32 slot)
{
	struct trace *trace = the_trace();

	if (!trace)
		return TC_ACT_SHOT;
	trace->verdict = verdict & 0xff;
	trace->reason = reason;
	trace->slot = slot;
	return TC_ACT_SHOT;
}

/* A made packet would go to an endpoint, or to a node. */
static __always_inline int trace_end_at(__u32 ifindex, __u64 node)
{
	struct trace *trace = the_trace();

	if (trace) {
		trace->ifindex = ifindex;
		trace->node = node;
	}
	return TC_ACT_REDIRECT;
}

/* A made packet would be answered by the gateway. */
static __always_inline int trace_end_at_gateway(void)
{
	struct trace *trace = the_trace();

	if (trace)
		trace->gateway = 1;
	return TC_ACT_REDIRECT;
}
