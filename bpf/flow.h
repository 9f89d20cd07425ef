// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* What a flow is called, and how long it lives. */
#pragma once

#include "events.h"
#include "maps.h"
#include "parse.h"

#define SECOND 1000000000LL

#define ICMPV6_PARAMETER_PROBLEM 4

static __always_inline int is_icmp(__u8 protocol)
{
	return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

static __always_inline int is_icmp_error(const struct packet *pkt)
{
	if (pkt->protocol == IPPROTO_ICMPV6)
		return pkt->icmp_type && pkt->icmp_type <= ICMPV6_PARAMETER_PROBLEM;
	return pkt->protocol == IPPROTO_ICMP &&
	       (pkt->icmp_type == ICMP_UNREACHABLE || pkt->icmp_type == ICMP_TIME_EXCEEDED ||
		pkt->icmp_type == ICMP_PARAMETER_PROBLEM);
}

static __always_inline int has_ports(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

static __always_inline __u8 echo_request(__u8 protocol)
{
	return protocol == IPPROTO_ICMP ? ICMP_ECHO_REQUEST : ICMPV6_ECHO_REQUEST;
}

static __always_inline int is_request(__u8 protocol, __u8 type)
{
	return type == echo_request(protocol);
}

static __always_inline int is_reply(__u8 protocol, __u8 type)
{
	return type == (protocol == IPPROTO_ICMP ? ICMP_ECHO_REPLY : ICMPV6_ECHO_REPLY);
}

static __always_inline int is_echo(__u8 protocol, __u8 type)
{
	return is_request(protocol, type) || is_reply(protocol, type);
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

/*
 * How long ago it was at then. The clock is not the same to the tick on all CPUs: what another has
 * just written may be of the future.
 */
static __always_inline __s64 since(__u64 then)
{
	return bpf_ktime_get_coarse_ns() - then;
}

/* Has the flow not been silent for longer than its state permits? */
static __always_inline int is_alive(const struct flow *flow)
{
	struct state *state = the_state();

	return state && since(flow->seen) < (__s64)state->timeouts[flow->state & 31];
}

/*
 * What stands for the remote port of an echo. The same identifier may be in use both ways, so it says
 * who asks, and rules may speak of the code.
 */
static __always_inline __u16 echo_key(int asks, __u8 code)
{
	return code << 8 | !asks;
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
	if (is_icmp(pkt->protocol))
		key->remote_port =
			echo_key(out == is_request(pkt->protocol, pkt->icmp_type), pkt->icmp_code);
}

/* Does it call the other side? */
static __always_inline int opens(const struct packet *pkt)
{
	return pkt->protocol == IPPROTO_TCP &&
	       (pkt->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

/* The port that rules speak of, of a flow that began in the direction of origin. */
static __always_inline __u16 rule_port(const struct flow_key *key, __u32 origin)
{
	if (is_icmp(key->protocol))
		return echo_request(key->protocol) << 8 | key->remote_port >> 8;
	return origin == EGRESS ? key->remote_port : key->local_port;
}

/* The state of a flow before its first answer. */
static __always_inline __u8 first_state(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return FLOW_TCP_SYN_SENT;
	case IPPROTO_UDP:
		return FLOW_UDP_UNREPLIED;
	case IPPROTO_SCTP:
		return FLOW_SCTP_UNREPLIED;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return FLOW_ICMP;
	default:
		return FLOW_OTHER_UNREPLIED;
	}
}

/* A flow that is answered for this long is a stream. */
#define STREAM_AFTER (2 * SECOND)

/* Goes on with a flow of any protocol but TCP. */
static __always_inline void advance(struct flow *flow, __u32 direction)
{
	switch (flow->state) {
	case FLOW_UDP_UNREPLIED:
	case FLOW_SCTP_UNREPLIED:
	case FLOW_OTHER_UNREPLIED:
		/* The state after it is the one of an answered flow. */
		if (direction != flow->origin)
			flow->state++;
		break;
	case FLOW_UDP_REPLIED:
		if (since(flow->began) > STREAM_AFTER)
			flow->state = FLOW_UDP_STREAM;
		break;
	default:
		break;
	}
}
