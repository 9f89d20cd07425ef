// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* Accounting. What passes is counted by CPU, what is dropped together. */
#pragma once

#include "events.h"
#include "maps.h"
#include "trace.h"

#include <linux/pkt_cls.h>

/* Owner of the drops that belong to no endpoint. */
#define NOBODY 0

/*
 * What a program returns for a drop, until settle() counts it: TC_ACT_SHOT, above it the reason,
 * above that the slot of the endpoint whose drop it is.
 */
#define VERDICT_BITS 8
#define REASON_BITS  8

static __always_inline int drop(__u32 slot, __u32 reason)
{
	return TC_ACT_SHOT | (reason & 0xff) << VERDICT_BITS | slot << (VERDICT_BITS + REASON_BITS);
}

/* Counts what became of a packet, and returns what the kernel wants to hear. */
static __always_inline int settle(struct __sk_buff *skb, int verdict, __u32 direction)
{
	__u32 reason = (__u32)verdict >> VERDICT_BITS & 0xff;
	__u32 slot = (__u32)verdict >> (VERDICT_BITS + REASON_BITS);
	struct dropped *lost;

	if (is_traced(skb))
		return end_trace(verdict, reason, slot);
	if (!reason)
		return verdict;
	lost = bpf_map_lookup_elem(&drops, &slot);
	if (lost && reason < REASON_MAX)
		__sync_fetch_and_add(&lost->packets[reason], 1);
	report_drop(skb, slot, reason, direction);
	return TC_ACT_SHOT;
}

/* A GSO packet counts as what it will be on the wire. */
static __always_inline __u64 packets(const struct __sk_buff *skb)
{
	__u32 segment = gso_size(skb);

	if (!segment)
		return 1;
	return skb->gso_segs ? skb->gso_segs : (skb->len + segment - 1) / segment;
}

static __always_inline void count_tx(const struct __sk_buff *skb, __u32 slot, __u32 bytes)
{
	struct account *account = bpf_map_lookup_elem(&accounts, &slot);

	if (!account)
		return;
	account->tx_packets += packets(skb);
	account->tx_bytes += bytes;
}

static __always_inline void count_rx(const struct __sk_buff *skb, __u32 slot, __u32 bytes)
{
	struct account *account = bpf_map_lookup_elem(&accounts, &slot);

	if (!account)
		return;
	account->rx_packets += packets(skb);
	account->rx_bytes += bytes;
}
