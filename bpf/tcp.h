// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * What a TCP connection is at (RFC 9293, 3.3.2), as one end's host sees it: every packet of that end passes
 * here, so a path that changes loses nothing that both ends have not lost. Windows are taken at
 * their largest, and SLACK is given on top: what is refused is far outside.
 */
#pragma once

#include "maps.h"
#include "parse.h"

#define SLACK 65536

/* Of a connection whose beginning was not seen. */
#define LARGEST_SCALE 14

#define TCP_OPTION_END	 0
#define TCP_OPTION_NOP	 1
#define TCP_OPTION_SCALE 3
#define TCP_OPTIONS	 40 /* bytes at most */

/* a is before b, in a space that begins anew after 4 GiB */
static __always_inline int before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

/* The window scale that a SYN offers; -1 if it offers none. */
__noinline int offered_scale(struct __sk_buff *skb, const struct packet *pkt)
{
	__u32 at = 20, end;
	__u8 option[3];

	if (!pkt)
		return -1;
	end = pkt->transport_header;
	for (int i = 0; i < TCP_OPTIONS && at < end; i++) {
		if (bpf_skb_load_bytes(skb, pkt->transport + at, option, 1) ||
		    option[0] == TCP_OPTION_END)
			return -1;
		if (option[0] == TCP_OPTION_NOP) {
			at++;
			continue;
		}
		if (at + 2 > end || bpf_skb_load_bytes(skb, pkt->transport + at, option, 2) ||
		    option[1] < 2)
			return -1;
		if (option[0] == TCP_OPTION_SCALE && option[1] == 3 && at + 3 <= end &&
		    !bpf_skb_load_bytes(skb, pkt->transport + at, option, 3))
			return option[2] > LARGEST_SCALE ? LARGEST_SCALE : option[2];
		at += option[1];
	}
	return -1;
}

static __always_inline __u32 end_of(const struct packet *pkt)
{
	return pkt->tcp_sequence + pkt->segment + !!(pkt->tcp_flags & TCP_SYN) +
	       !!(pkt->tcp_flags & TCP_FIN);
}

/* May the packet be of what the connection is at? */
static __always_inline int plausible(const struct tcp_side *from, const struct tcp_side *to,
				     const struct packet *pkt)
{
	__u32 back = to->window + SLACK;

	if (from->flags & SIDE_SEEN && before(end_of(pkt), from->next - back))
		return 0;
	if (from->flags & SIDE_REACH && before(from->reach + SLACK, pkt->tcp_sequence))
		return 0;
	return 1;
}

/* Does it confirm what the other side has sent of late? */
static __always_inline int answers(const struct tcp_side *to, const struct packet *pkt)
{
	return !(to->flags & SIDE_SEEN) ||
	       (!before(to->next, pkt->tcp_ack) && before(to->next - SLACK, pkt->tcp_ack));
}

/* Takes over what a packet says of both sides. */
static __always_inline void follow(struct tcp_side *from, struct tcp_side *to,
				   const struct packet *pkt)
{
	__u32 end = end_of(pkt), window = pkt->tcp_window, reach;

	if (!(from->flags & SIDE_SEEN) || before(from->next, end))
		from->next = end;
	from->flags |= SIDE_SEEN;
	if (!(pkt->tcp_flags & TCP_ACK))
		return;
	/* The window of a SYN is not scaled (RFC 7323, 2.2). */
	if (!(pkt->tcp_flags & TCP_SYN))
		window <<= from->scale & 15;
	if (window > from->window)
		from->window = window;
	reach = pkt->tcp_ack + window;
	if (!(to->flags & SIDE_REACH) || before(to->reach, reach))
		to->reach = reach;
	if (!(to->flags & SIDE_SEEN))
		to->next = pkt->tcp_ack;
	to->flags |= SIDE_REACH | SIDE_SEEN;
	if (to->flags & SIDE_FIN && !before(pkt->tcp_ack, to->next))
		to->flags |= SIDE_FIN_ACKED;
}

/* What both sides' ends make of a connection. */
static __always_inline __u8 ending(const struct tcp_side *a, const struct tcp_side *b)
{
	__u32 fins = !!(a->flags & SIDE_FIN) + !!(b->flags & SIDE_FIN);
	__u32 acked = !!(a->flags & SIDE_FIN_ACKED) + !!(b->flags & SIDE_FIN_ACKED);

	if (fins == 1)
		return acked ? FLOW_TCP_CLOSE_WAIT : FLOW_TCP_FIN_WAIT;
	if (acked == 2)
		return FLOW_TCP_TIME_WAIT;
	return acked ? FLOW_TCP_LAST_ACK : FLOW_TCP_CLOSING;
}

static __always_inline int is_ending(__u8 state)
{
	return state >= FLOW_TCP_FIN_WAIT && state <= FLOW_TCP_CLOSED;
}

/* A side begins: what was known of it is of another connection, or of none. */
static __always_inline void begin_side(struct tcp_side *side, int scale)
{
	__builtin_memset(side, 0, sizeof(*side));
	side->scale = scale;
}

/* The first packet of a connection, or the first that is seen of it. */
__noinline int begin_tcp(struct __sk_buff *skb, struct flow *flow, const struct packet *pkt,
			 __u32 direction)
{
	struct tcp_side *from, *to;
	int scale = LARGEST_SCALE;

	if (!flow || !pkt)
		return 0;
	from = &flow->sides[direction & 1];
	to = &flow->sides[!(direction & 1)];
	if ((pkt->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		scale = offered_scale(skb, pkt);
	flow->state = FLOW_TCP_SYN_SENT;
	begin_side(from, scale < 0 ? 0 : scale);
	begin_side(to, LARGEST_SCALE);
	if (!pkt->transport_header)
		return 0;
	follow(from, to, pkt);
	if (pkt->tcp_flags & TCP_FIN) {
		from->flags |= SIDE_FIN;
		flow->state = ending(from, to);
	}
	if (pkt->tcp_flags & TCP_RST)
		flow->state = FLOW_TCP_CLOSED;
	return 0;
}

/* A SYN within a connection: a retransmission, an answer, or a side that has forgotten. */
static __always_inline int syn(struct __sk_buff *skb, struct flow *flow, const struct packet *pkt,
			       __u32 direction)
{
	struct tcp_side *from = &flow->sides[direction & 1], *to = &flow->sides[!(direction & 1)];
	int young = flow->state == FLOW_TCP_SYN_SENT || flow->state == FLOW_TCP_SYN_RECV;
	int scale;

	if (!(pkt->tcp_flags & TCP_ACK)) {
		if (flow->state == FLOW_TCP_SYN_SENT)
			begin_tcp(skb, flow, pkt, direction);
		else
			flow->reopening = pkt->tcp_sequence ?: 1;
		return REASON_NONE;
	}
	if (direction == flow->origin)
		return plausible(from, to, pkt) ? REASON_NONE : REASON_BAD_SEQUENCE;
	if (!young && flow->reopening && pkt->tcp_ack == flow->reopening + 1) {
		begin_side(to, LARGEST_SCALE);
		to->next = pkt->tcp_ack;
		to->flags = SIDE_SEEN;
		young = 1;
	}
	if (!young)
		return plausible(from, to, pkt) ? REASON_NONE : REASON_BAD_SEQUENCE;
	if (!answers(to, pkt))
		return REASON_BAD_SEQUENCE;
	scale = offered_scale(skb, pkt);
	begin_side(from, scale < 0 ? 0 : scale);
	/* Windows are scaled if both have offered it. */
	if (scale < 0)
		to->scale = 0;
	to->flags &= SIDE_SEEN;
	follow(from, to, pkt);
	flow->reopening = 0;
	flow->state = FLOW_TCP_SYN_RECV;
	return REASON_NONE;
}

/* Whatever is not a piece of data of a connection that is established. */
__noinline int advance_tcp(struct __sk_buff *skb, struct flow *flow, const struct packet *pkt,
			   __u32 direction)
{
	struct tcp_side *from, *to;

	if (!flow || !pkt)
		return REASON_BAD_SEQUENCE;
	from = &flow->sides[direction & 1];
	to = &flow->sides[!(direction & 1)];
	if (pkt->tcp_flags & TCP_RST) {
		/* A refusal has no number of its own: it is known by what it answers. */
		if (flow->state == FLOW_TCP_SYN_SENT && direction != flow->origin &&
		    pkt->tcp_flags & TCP_ACK) {
			if (!answers(to, pkt))
				return REASON_BAD_SEQUENCE;
			flow->state = FLOW_TCP_CLOSED;
			return REASON_NONE;
		}
		if (!plausible(from, to, pkt) || !(from->flags & SIDE_SEEN))
			return REASON_BAD_SEQUENCE;
		flow->state = FLOW_TCP_CLOSED;
		return REASON_NONE;
	}
	if (pkt->tcp_flags & TCP_SYN)
		return syn(skb, flow, pkt, direction);
	if (!plausible(from, to, pkt))
		return REASON_BAD_SEQUENCE;
	follow(from, to, pkt);
	if (pkt->tcp_flags & TCP_FIN)
		from->flags |= SIDE_FIN;
	if (flow->state == FLOW_TCP_CLOSED)
		return REASON_NONE;
	if ((from->flags | to->flags) & SIDE_FIN)
		flow->state = ending(from, to);
	else if (flow->state == FLOW_TCP_SYN_SENT ? direction != flow->origin
						  : direction == flow->origin)
		flow->state = FLOW_TCP_ESTABLISHED;
	return REASON_NONE;
}

static __always_inline int track_tcp(struct __sk_buff *skb, struct flow *flow,
				     const struct packet *pkt, __u32 direction)
{
	struct tcp_side *from = &flow->sides[direction & 1], *to = &flow->sides[!(direction & 1)];

	/* A later fragment says nothing of where it is. */
	if (!pkt->transport_header)
		return REASON_NONE;
	if (flow->state != FLOW_TCP_ESTABLISHED || pkt->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST))
		return advance_tcp(skb, flow, pkt, direction);
	if (!plausible(from, to, pkt))
		return REASON_BAD_SEQUENCE;
	follow(from, to, pkt);
	return REASON_NONE;
}
