// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* The last step of a packet: into an endpoint, or into a tunnel. */
#pragma once

#include "conntrack.h"
#include "counters.h"
#include "locate.h"
#include "mac.h"
#include "translate.h"

#include <linux/if_packet.h>

/* Marks a packet that is on its way from this program to this program. */
#define TRANSLATED 0x656e7470

/* May the endpoint have the packet? */
static __always_inline int admit(struct __sk_buff *skb, const struct packet *pkt,
				 const struct endpoint *to)
{
	if (to->flags & ENDPOINT_SUPERSEDED)
		return REASON_SUPERSEDED;
	if (!endpoint_mac(to))
		return REASON_UNKNOWN_MAC;
	return track(skb, pkt, to, INGRESS);
}

/* Hands an IPv4 frame to an endpoint that admitted it. */
static __always_inline int deliver(struct __sk_buff *skb, const struct packet *pkt,
				   const struct endpoint *to, int stale)
{
	__u64 mac = endpoint_mac(to);
	struct ethhdr eth = {.h_proto = bpf_htons(ETH_P_IP)};

	for (int i = 0; i < ETH_ALEN; i++)
		eth.h_dest[i] = mac >> (40 - 8 * i);
	set_gateway_mac(eth.h_source);
	if (bpf_skb_store_bytes(skb, 0, &eth, ETH_HLEN, 0))
		return drop(to->slot, REASON_TRANSLATION);
	count_rx(skb, to->slot, ETH_HLEN + pkt->length);
	/* The way through the peer's receive path asks the header for the protocol again. */
	if (to->delivery != DELIVER_PEER || stale)
		return bpf_redirect(to->ifindex, 0);
	if (skb->pkt_type != PACKET_HOST)
		bpf_skb_change_type(skb, PACKET_HOST);
	return bpf_redirect_peer(to->ifindex, 0);
}

/* The largest packet that will be on the wire, as IPv6. */
static __always_inline __u32 wire_length(const struct __sk_buff *skb, const struct packet *pkt)
{
	if (skb->gso_size)
		return IPV6_HEADER + pkt->transport_header + skb->gso_size;
	return pkt->length + IPV6_HEADER - IPV4_HEADER;
}

/* Sends an endpoint's packet to another node. */
static __always_inline int forward(struct __sk_buff *skb, struct iphdr *ip,
				   const struct packet *pkt, const struct endpoint *from,
				   __u64 prefix)
{
	struct node *node = bpf_map_lookup_elem(&nodes, &prefix);
	__u32 ifindex;
	int reason;

	if (!node)
		return drop(from->slot, REASON_NO_TUNNEL);
	if (wire_length(skb, pkt) > node->mtu)
		return drop(from->slot, REASON_PACKET_TOO_BIG);
	ifindex = node->ifindex;
	reason = translate_out(skb, ip, pkt, node_prefix, prefix);
	if (reason)
		return drop(from->slot, reason);
	count_tx(skb, from->slot, ETH_HLEN + pkt->length);
	if (!is_udp_gso(skb, pkt))
		return bpf_redirect(ifindex, 0);
	skb->mark = TRANSLATED;
	return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
}

/*
 * A large UDP packet comes in once more after its translation: the kernel would not change
 * skb->protocol with it, but asks the Ethernet header when a packet enters a device. An endpoint
 * cannot set a mark: it does not leave a namespace, a guest or a wire.
 */
static __always_inline int forward_again(struct __sk_buff *skb, const struct endpoint *from)
{
	struct overlay_header h;
	struct node *node;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &h, IPV6_HEADER))
		return drop(from->slot, REASON_MALFORMED);
	if (h.source.prefix != node_prefix || h.source.address != from->address4.words[3])
		return drop(from->slot, REASON_SPOOFED_SOURCE);
	node = bpf_map_lookup_elem(&nodes, &h.destination.prefix);
	if (!node)
		return drop(from->slot, REASON_NO_TUNNEL);
	skb->mark = 0;
	return bpf_redirect(node->ifindex, 0);
}
