// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * What happens, for those who watch. Nobody is woken up: readers look by themselves. Each CPU sends
 * so many of a kind in a moment and leaves out the rest, so that a flood costs what counting it
 * costs. Of announcements it is each endpoint that has so many, so that none takes another's.
 */
#pragma once

#include "maps.h"
#include "parse.h"

/* About 17 ms: longer than the coarse clock's steps. */
#define EVENT_WINDOW_SHIFT 24
#define EVENTS_PER_WINDOW  32

/* About 134 ms: an endpoint that announces all the time fills little of the ring between two looks. */
#define ANNOUNCE_WINDOW_SHIFT	 27
#define ANNOUNCEMENTS_PER_WINDOW 32

/* Bytes of the ring buffer that any event may fill. The rest is for announcements. */
#define RING_FOR_ALL (192 * 1024)

static __always_inline struct state *the_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&edgenet_state, &zero);
}

/* Does anyone watch events of this kind? */
static __always_inline int watched(__u32 kind)
{
	struct state *state = the_state();

	return state && *(volatile __u32 *)&state->watched & 1U << kind;
}

/* What a reservation holds is old. */
static __always_inline void clear_event(struct event *event, __u32 kind)
{
	__builtin_memset(event, 0, sizeof(*event));
	event->time = bpf_ktime_get_coarse_ns();
	event->kind = kind;
}

static __noinline int begin_event(struct event *event, __u32 kind)
{
	clear_event(event, kind);
	return 0;
}

/* Has the endpoint not announced too much of late? CPUs that begin a window at once let more pass. */
static __always_inline int may_announce(__u32 slot)
{
	struct announced *said = bpf_map_lookup_elem(&announcements, &slot);
	__u64 window = bpf_ktime_get_coarse_ns() >> ANNOUNCE_WINDOW_SHIFT;

	if (!said)
		return 0;
	if (said->window != window) {
		said->window = window;
		said->times = 0;
	}
	return __sync_fetch_and_add(&said->times, 1) < ANNOUNCEMENTS_PER_WINDOW;
}

/* Room for an event of a kind, to be cleared, if this CPU has not sent too many of late. */
static __always_inline struct event *new_event(__u32 kind)
{
	struct event_limit *limit = bpf_map_lookup_elem(&event_limits, &kind);
	__u64 window = bpf_ktime_get_coarse_ns() >> EVENT_WINDOW_SHIFT;
	struct event *event;

	if (!limit)
		return NULL;
	if (limit->window != window) {
		limit->window = window;
		limit->sent = 0;
	}
	if (limit->sent >= EVENTS_PER_WINDOW) {
		limit->left_out++;
		return NULL;
	}
	limit->sent++;
	if (bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) > RING_FOR_ALL) {
		limit->left_out++;
		return NULL;
	}
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		limit->left_out++;
	return event;
}

/* Tells of a packet that was dropped, as it is now. */
__noinline int report_drop(struct __sk_buff *skb, __u32 slot, __u32 reason, __u32 direction)
{
	struct event *event;
	__u32 length = skb->len, last;

	if (!watched(EVENT_DROP))
		return 0;
	event = new_event(EVENT_DROP);
	if (!event)
		return 0;
	begin_event(event, EVENT_DROP);
	event->slot = slot;
	event->reason = reason;
	event->direction = direction;
	event->length = length;
	/*
	 * Bounds that kernels like 6.1 follow: on the register that is used, not on
	 * a copy, and above zero by an addition, not by a comparison.
	 */
	last = (length > CAPTURED ? CAPTURED : length) - 1;
	barrier_var(last);
	if (last < CAPTURED && !bpf_skb_load_bytes(skb, 0, event->packet, last + 1))
		event->captured = last + 1;
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	return 0;
}

/* A flow as rules see it, and what they say. */
struct judgement {
	__u64 identity; /* of the other side */
	__u32 slot; /* of the endpoint whose rules they are */
	__u32 endpoint; /* its id */
	__u32 origin; /* the direction in which the flow began */
	__u32 port; /* the one that rules speak of, or ICMP type and code */
	__u32 rule; /* that decides, and RULE_DENIES */
	__u32 shadow_rule; /* likewise, of the candidate */
};

/* With a kind of event: the packet is an answer, the flow began the other way. */
#define EVENT_OF_ANSWER (1u << 31)

/* Tells of a flow, as it began: a new one, or one that candidate rules judge otherwise. */
__noinline int report_flow(const struct packet *pkt, const struct judgement *j, __u32 kind)
{
	__u32 answer = kind & EVENT_OF_ANSWER;
	struct event *event;

	kind &= ~EVENT_OF_ANSWER;
	if (!pkt || !j || !watched(kind))
		return 0;
	event = new_event(kind);
	if (!event)
		return 0;
	/* Without a call: this is deep in the stack already. */
	clear_event(event, kind);
	event->slot = j->slot;
	event->vni = pkt->vni;
	event->rule = j->rule;
	event->shadow_rule = j->shadow_rule;
	event->length = pkt->length;
	event->direction = j->origin;
	event->protocol = pkt->protocol;
	event->source = answer ? pkt->destination : pkt->source;
	event->destination = answer ? pkt->source : pkt->destination;
	event->source_port = answer ? pkt->destination_port : pkt->source_port;
	event->destination_port = answer ? pkt->source_port : pkt->destination_port;
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	return 0;
}

/* An endpoint has said, by gratuitous ARP or unsolicited NA, that it has an address now. */
static __noinline int announce(const struct endpoint *ep, const union ip *ip)
{
	__u32 kind = EVENT_ANNOUNCEMENT;
	struct event_limit *limit = bpf_map_lookup_elem(&event_limits, &kind);
	struct event *event = NULL;

	if (may_announce(ep->slot))
		event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		if (limit)
			limit->left_out++;
		return 0;
	}
	begin_event(event, EVENT_ANNOUNCEMENT);
	event->slot = ep->slot;
	event->vni = ep->vni;
	event->source = *ip;
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	return 0;
}
