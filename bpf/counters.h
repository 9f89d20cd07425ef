// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* Accounting: one look-up in a per-CPU array. */
#pragma once

#include "maps.h"

#include <linux/pkt_cls.h>

/* Owner of the drops that belong to no endpoint. */
#define NOBODY 0

static __always_inline int drop(__u32 slot, __u32 reason)
{
	struct counters *account = bpf_map_lookup_elem(&accounts, &slot);

	if (account && reason < REASON_MAX)
		account->drops[reason]++;
	return TC_ACT_SHOT;
}

/* A GSO packet counts as what it will be on the wire. */
static __always_inline __u64 packets(const struct __sk_buff *skb)
{
	__u32 segment = skb->gso_size;

	if (!segment)
		return 1;
	return skb->gso_segs ? skb->gso_segs : (skb->len + segment - 1) / segment;
}

static __always_inline void count_tx(const struct __sk_buff *skb, __u32 slot, __u32 bytes)
{
	struct counters *account = bpf_map_lookup_elem(&accounts, &slot);

	if (!account)
		return;
	account->tx_packets += packets(skb);
	account->tx_bytes += bytes;
}

static __always_inline void count_rx(const struct __sk_buff *skb, __u32 slot, __u32 bytes)
{
	struct counters *account = bpf_map_lookup_elem(&accounts, &slot);

	if (!account)
		return;
	account->rx_packets += packets(skb);
	account->rx_bytes += bytes;
}
