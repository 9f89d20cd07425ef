// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * How many flows an endpoint may have. The table of flows is shared, and a full one forgets whoever
 * was silent for longest: so it is kept from getting full. Each endpoint has a share; it may have
 * more while there is room. One that has more than its share and finds no room replaces flows of
 * its own that nobody has answered, or that are over.
 */
#pragma once

#include "flow.h"
#include "maps.h"

/* Without somebody who sweeps the flows the numbers say nothing. */
#define HEARTBEAT (60 * SECOND)

/* Entries of the ring that are looked at for one to replace. */
#define TRIES 4

/* Unanswered, or over. */
static __always_inline int is_replaceable(__u8 state)
{
	return state == FLOW_TCP_SYN_SENT || state == FLOW_TCP_SYN_RECV ||
	       state == FLOW_UDP_UNREPLIED || state == FLOW_SCTP_UNREPLIED || state == FLOW_ICMP ||
	       state == FLOW_OTHER_UNREPLIED;
}

static __always_inline void count_flows(__u32 slot, __u32 difference)
{
	struct budget *budget = bpf_map_lookup_elem(&budgets, &slot);

	if (budget)
		__sync_fetch_and_add(&budget->flows, difference);
}

static __always_inline struct flow_key *ring_entry(__u32 slot, __u32 number)
{
	__u32 index = slot * RECENT + number % RECENT;

	return bpf_map_lookup_elem(&recent, &index);
}

/* Forgets the oldest flow of the endpoint that nobody will miss. */
__noinline int replace(__u32 slot, __u32 endpoint)
{
	struct budget *own = bpf_map_lookup_elem(&budgets, &slot);

	if (!own)
		return 0;
	for (int i = 0; i < TRIES; i++) {
		struct flow_key *oldest = ring_entry(slot, own->next + i);
		struct flow *flow;

		if (!oldest || oldest->endpoint != endpoint)
			continue;
		flow = bpf_map_lookup_elem(&flows, oldest);
		if (!flow || !is_replaceable(flow->state) || bpf_map_delete_elem(&flows, oldest))
			continue;
		own->next += i;
		count_flows(slot, -1);
		count_flows(0, -1);
		return 1;
	}
	own->next += TRIES;
	return 0;
}

/* Is there room for one more flow of the endpoint? */
static __always_inline int has_room(const struct endpoint *ep)
{
	struct state *state = the_state();
	__u32 slot = ep->slot, zero = 0;
	struct budget *own, *all;

	if (!state || !state->flow_room || since(state->heartbeat) > HEARTBEAT)
		return 1;
	own = bpf_map_lookup_elem(&budgets, &slot);
	all = bpf_map_lookup_elem(&budgets, &zero);
	if (!own || !all)
		return 1;
	/* CPUs and sweeps count without a lock: what is a few below zero is none, not four billion. */
	if ((__s32)own->flows < (__s32)state->flow_share ||
	    (__s32)all->flows < (__s32)state->flow_room)
		return 1;
	return replace(slot, ep->id);
}

/* A flow has begun. */
static __always_inline void charge(const struct endpoint *ep, const struct flow_key *key)
{
	__u32 slot = ep->slot;
	struct budget *own = bpf_map_lookup_elem(&budgets, &slot);
	struct account *account = bpf_map_lookup_elem(&accounts, &slot);
	struct flow_key *entry;

	count_flows(0, 1);
	if (account)
		account->flows++;
	if (!own)
		return;
	__sync_fetch_and_add(&own->flows, 1);
	entry = ring_entry(slot, own->next++);
	if (entry)
		*entry = *key;
}
