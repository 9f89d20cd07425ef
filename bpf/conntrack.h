// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * Flows, as each endpoint sees them. A flow that a policy once permitted is asked about again, in the
 * direction in which it began, when the policies have changed since. One that is no longer
 * permitted stays in the table, refused: otherwise the answers of a server whose ingress was
 * closed would begin a new flow outwards, and reopen it.
 */
#pragma once

#include "events.h"
#include "maps.h"
#include "parse.h"
#include "verdict.h"

enum stage {
	STAGE_NEW, /* unanswered */
	STAGE_ESTABLISHED,
	STAGE_CLOSING, /* one side has ended */
	STAGE_CLOSED, /* both have, or one has reset it */
};

#define SECOND 1000000000ULL

static __always_inline __u64 lifetime(const struct flow_key *key, const struct flow *flow)
{
	switch (key->protocol) {
	case IPPROTO_TCP:
		switch (flow->stage) {
		case STAGE_ESTABLISHED:
			return 7200 * SECOND;
		case STAGE_CLOSED:
			return 10 * SECOND;
		default:
			return 60 * SECOND;
		}
	case IPPROTO_ICMP:
		return 30 * SECOND;
	default:
		return (flow->stage == STAGE_NEW ? 60 : 180) * SECOND;
	}
}

static __always_inline int is_icmp_error(const struct packet *pkt)
{
	return pkt->protocol == IPPROTO_ICMP &&
	       (pkt->icmp_type == ICMP_UNREACHABLE || pkt->icmp_type == ICMP_TIME_EXCEEDED ||
		pkt->icmp_type == ICMP_PARAMETER_PROBLEM);
}

static __always_inline int is_echo(__u8 type)
{
	return type == ICMP_ECHO_REQUEST || type == ICMP_ECHO_REPLY;
}

/* The key of the flow that pkt belongs to, as ep sees it. */
static __always_inline void flow_key_of(struct flow_key *key, const struct packet *pkt,
					const struct endpoint *ep, __u32 direction)
{
	int out = direction == EGRESS;

	key->endpoint = ep->id;
	key->local = out ? pkt->source : pkt->destination;
	key->remote = out ? pkt->destination : pkt->source;
	key->local_port = out ? pkt->source_port : pkt->destination_port;
	key->remote_port = out ? pkt->destination_port : pkt->source_port;
	key->protocol = pkt->protocol;
	/* The same identifier may be in use both ways: who asks goes into the key. */
	if (pkt->protocol == IPPROTO_ICMP)
		key->remote_port = out == (pkt->icmp_type == ICMP_ECHO_REQUEST) ? 0 : 1;
}

/* The protocol that rules know it by: 0 stands for all that they do not name. */
static __always_inline __u32 rule_protocol(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_ICMP:
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_ICMPV6:
	case IPPROTO_SCTP:
		return protocol;
	default:
		return 0;
	}
}

/* What the policies in force say of a flow that begins in this direction. */
static __always_inline int evaluate(const struct packet *pkt, const struct endpoint *ep,
				    __u32 origin, __u64 identity, __u16 port)
{
	__u32 slot = pkt->generation & 1;
	const struct rules *rules = &ep->rules[slot];
	__u64 policy = origin == EGRESS ? rules->egress : rules->ingress;

	if (!(decide(policy, identity, rule_protocol(pkt->protocol), port, slot) & RULE_DENIES))
		return REASON_NONE;
	return origin == EGRESS ? REASON_NO_EGRESS_RULE : REASON_NO_INGRESS_RULE;
}

/* The port that rules speak of, of a flow that began in the direction of origin. */
static __always_inline __u16 rule_port(const struct flow_key *key, __u32 origin)
{
	if (key->protocol == IPPROTO_ICMP)
		return ICMP_ECHO_REQUEST << 8;
	return origin == EGRESS ? key->remote_port : key->local_port;
}

static __always_inline void advance(struct flow *flow, const struct packet *pkt, __u32 direction)
{
	if (pkt->protocol == IPPROTO_TCP && pkt->tcp_flags & TCP_RST) {
		flow->stage = STAGE_CLOSED;
		return;
	}
	if (pkt->protocol == IPPROTO_TCP && pkt->tcp_flags & TCP_FIN) {
		flow->fins |= 1 << (direction & 1);
		flow->stage = flow->fins == 3 ? STAGE_CLOSED : STAGE_CLOSING;
		return;
	}
	if (flow->stage == STAGE_NEW && direction != flow->origin)
		flow->stage = STAGE_ESTABLISHED;
}

/* Does the error speak of a flow that ep has, and that passes? */
static __always_inline int related(struct __sk_buff *skb, const struct packet *pkt,
				   const struct endpoint *ep, __u32 direction, __u64 now)
{
	struct flow_key key = {.endpoint = ep->id};
	struct flow *flow;
	struct iphdr inner;
	__u8 ports[8];
	int sent = direction == INGRESS; /* what the error is about went the other way */

	if (bpf_skb_load_bytes(skb, pkt->transport + 8, &inner, sizeof(inner)) ||
	    bpf_skb_load_bytes(skb, pkt->transport + 8 + sizeof(inner), ports, sizeof(ports)))
		return 0;
	map_ipv4(&key.local, sent ? inner.saddr : inner.daddr);
	if (inner.version != 4 || inner.ihl != 5 || !same_ip(&key.local, &ep->address4))
		return 0;
	map_ipv4(&key.remote, sent ? inner.daddr : inner.saddr);
	key.protocol = inner.protocol;
	if (inner.protocol == IPPROTO_TCP || inner.protocol == IPPROTO_UDP) {
		__u16 from = ports[0] << 8 | ports[1], to = ports[2] << 8 | ports[3];

		key.local_port = sent ? from : to;
		key.remote_port = sent ? to : from;
	} else if (inner.protocol == IPPROTO_ICMP && is_echo(ports[0])) {
		key.local_port = ports[4] << 8 | ports[5];
		key.remote_port = sent == (ports[0] == ICMP_ECHO_REQUEST) ? 0 : 1;
	} else if (inner.protocol == IPPROTO_ICMP) {
		return 0;
	}
	flow = bpf_map_lookup_elem(&flows, &key);
	return flow && now - flow->seen < lifetime(&key, flow) &&
	       flow->generation == pkt->generation;
}

/* ICMP that has no flow of its own. */
static __always_inline int stateless(struct __sk_buff *skb, const struct packet *pkt,
				     const struct endpoint *ep, __u32 direction, __u64 identity,
				     __u64 now)
{
	if (pkt->icmp_type == ICMP_ECHO_REPLY)
		return REASON_NO_FLOW;
	if (is_icmp_error(pkt) && related(skb, pkt, ep, direction, now))
		return REASON_NONE;
	return evaluate(pkt, ep, direction, identity, pkt->icmp_type << 8 | pkt->icmp_code);
}

/* A flow that is in the table and has not run out. */
static __always_inline int known(struct flow *flow, const struct flow_key *key,
				 const struct packet *pkt, const struct endpoint *ep,
				 __u32 direction, __u64 identity, __u64 now)
{
	__u32 origin = flow->origin;
	int reason = REASON_NONE;

	if (flow->generation != pkt->generation) {
		reason = evaluate(pkt, ep, origin, identity, rule_port(key, origin));
		if (!reason)
			flow->generation = pkt->generation;
	}
	if (now - flow->seen > SECOND)
		flow->seen = now;
	if (!reason)
		advance(flow, pkt, direction);
	return reason;
}

/* Does pkt, which goes in direction as ep sees it, pass? Returns a reason if not. */
static __noinline enum reason track(struct __sk_buff *skb, const struct packet *pkt,
				    const struct endpoint *ep, __u32 direction)
{
	struct flow_key key = {};
	struct flow *flow, fresh = {};
	__u64 now = bpf_ktime_get_coarse_ns();
	__u64 identity = direction == EGRESS ? pkt->destination_identity : pkt->source_identity;
	int opens = pkt->protocol == IPPROTO_TCP &&
		    (pkt->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
	int alive, reason;

	if (pkt->protocol == IPPROTO_ICMP && !is_echo(pkt->icmp_type))
		return stateless(skb, pkt, ep, direction, identity, now);
	flow_key_of(&key, pkt, ep, direction);
	flow = bpf_map_lookup_elem(&flows, &key);
	alive = flow && now - flow->seen < lifetime(&key, flow);
	/* The same ports again: a connection of its own once the old one has ended. */
	if (alive && !(opens && flow->stage >= STAGE_CLOSING) &&
	    !(opens && flow->origin != direction))
		return known(flow, &key, pkt, ep, direction, identity, now);

	if (pkt->protocol == IPPROTO_ICMP && pkt->icmp_type == ICMP_ECHO_REPLY)
		return REASON_NO_FLOW;
	reason = evaluate(pkt, ep, direction, identity, rule_port(&key, direction));
	if (reason)
		return reason;
	/* Whoever opens towards a live flow's opener passes by rule, and leaves that flow alone. */
	if (alive && flow->stage < STAGE_CLOSING)
		return REASON_NONE;
	fresh.generation = pkt->generation;
	fresh.seen = now;
	fresh.origin = direction;
	advance(&fresh, pkt, direction);
	bpf_map_update_elem(&flows, &key, &fresh, BPF_ANY);
	return REASON_NONE;
}
