// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* A VPC is layer 3: every address but an endpoint's own is at the gateway's MAC. */
#pragma once

#include "counters.h"
#include "read.h"

/* linux/if_arp.h brings in the C library. */
#define ARPHRD_ETHER  1
#define ARPOP_REQUEST 1
#define ARPOP_REPLY   2

struct arp {
	__u16 reserved; /* aligns the addresses, which stand at odd offsets otherwise */
	struct ethhdr eth;
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_size;
	__u8 protocol_size;
	__be16 operation;
	__u8 sender_mac[6];
	__u8 sender[4];
	__u8 target_mac[6];
	__u8 target[4];
};

#define ARP_FRAME (sizeof(struct arp) - 2)

static __always_inline __be32 arp_address(const __u8 *bytes)
{
	__be32 address;

	__builtin_memcpy(&address, bytes, 4);
	return address;
}

/* Turns a request into its answer, on the stack, and writes it back. */
static __always_inline int arp_answer(struct __sk_buff *skb, struct arp *arp)
{
	__u8 target[4];

	__builtin_memcpy(target, arp->target, 4);
	__builtin_memcpy(arp->eth.h_dest, arp->sender_mac, 6);
	set_gateway_mac(arp->eth.h_source);
	arp->operation = bpf_htons(ARPOP_REPLY);
	__builtin_memcpy(arp->target_mac, arp->sender_mac, 6);
	__builtin_memcpy(arp->target, arp->sender, 4);
	set_gateway_mac(arp->sender_mac);
	__builtin_memcpy(arp->sender, target, 4);
	return bpf_skb_store_bytes(skb, 0, &arp->eth, ARP_FRAME, 0);
}

/* Is it the endpoint's IPv4 address? */
static __always_inline int has_ipv4(const struct endpoint *ep, __be32 address, __u64 generation)
{
	union ip ip;

	if (address == ep->address4.words[3])
		return !!address;
	map_ipv4(&ip, address);
	return is_unicast4(address) && is_behind(ep, &ip, generation);
}

/*
 * The sender has an address that another holds. Whether it may take it over is not decided here.
 * Returns whether it could: the address is behind an endpoint of its VPC.
 */
static __always_inline int arp_announced(const struct endpoint *ep, __be32 address,
					 __u64 generation)
{
	union ip ip;

	map_ipv4(&ip, address);
	if (!is_unicast4(address) || !is_shared(ep, &ip, generation))
		return 0;
	announce(ep, &ip);
	return 1;
}

/* Answers requests, learns from what the endpoint says of itself, and lets nothing through. */
static __noinline int handle_arp(struct __sk_buff *skb, const struct endpoint *ep, __u64 generation)
{
	struct arp arp = {};
	__be32 sender, target;
	int own;

	if (bpf_skb_load_bytes(skb, 0, &arp.eth, ARP_FRAME))
		return drop(ep->slot, REASON_MALFORMED);
	if (arp.hardware != bpf_htons(ARPHRD_ETHER) || arp.protocol != bpf_htons(ETH_P_IP) ||
	    arp.hardware_size != 6 || arp.protocol_size != 4)
		return drop(ep->slot, REASON_MALFORMED);
	sender = arp_address(arp.sender);
	target = arp_address(arp.target);
	own = has_ipv4(ep, sender, generation);
	if (mac_of(arp.sender_mac) != mac_of(arp.eth.h_source) ||
	    !source_mac_ok(ep, arp.eth.h_source, own))
		return drop(ep->slot, REASON_SPOOFED_MAC);
	if (sender && !own)
		return arp_announced(ep, sender, generation)
			       ? TC_ACT_SHOT
			       : drop(ep->slot, REASON_SPOOFED_SOURCE);
	/* Announcements, probes for its own address and answers end here; they are no loss. */
	if (arp.operation != bpf_htons(ARPOP_REQUEST) || has_ipv4(ep, target, generation))
		return TC_ACT_SHOT;
	if (arp_answer(skb, &arp))
		return drop(ep->slot, REASON_TRANSLATION);
	return bpf_redirect(skb->ifindex, 0);
}
