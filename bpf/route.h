// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* The last step of a packet: into an endpoint, or into a tunnel. */
#pragma once

#include "conntrack.h"
#include "counters.h"
#include "cut.h"
#include "icmp.h"
#include "mss.h"
#include "translate.h"

#include <linux/if_packet.h>

/* Marks a packet that is on its way from this program to this program. */
#define TRANSLATED 0x656e7470

/* May the endpoint have the packet? */
static __always_inline int admit(struct __sk_buff *skb, const struct packet *pkt,
				 const struct endpoint *to, struct flow *flow)
{
	if (to->flags & ENDPOINT_SUPERSEDED)
		return REASON_SUPERSEDED;
	if (!endpoint_mac(to))
		return REASON_UNKNOWN_MAC;
	return track(skb, pkt, to, INGRESS, flow);
}

/* Takes a hop off a packet that stays on this host. */
static __always_inline int take_hop(struct __sk_buff *skb, const struct packet *pkt)
{
	struct {
		__u8 ttl;
		__u8 protocol;
		__sum16 checksum;
	} out = {.ttl = pkt->hop_limit - 1, .protocol = pkt->protocol};

	if (pkt->family == 6)
		return bpf_skb_store_bytes(skb, ETH_HLEN + 7, &out.ttl, 1, BPF_F_RECOMPUTE_CSUM);
	out.checksum = ~fold((__u16)~pkt->checksum + (__u16)~bpf_htons(0x0100));
	return bpf_skb_store_bytes(skb, ETH_HLEN + 8, &out, sizeof(out), 0);
}

/* Hands a frame to an endpoint that admitted it. */
static __noinline int deliver(struct __sk_buff *skb, const struct packet *pkt,
			      const struct endpoint *to, int stale)
{
	__u64 mac = endpoint_mac(to);
	struct ethhdr eth = {.h_proto = bpf_htons(pkt->family == 4 ? ETH_P_IP : ETH_P_IPV6)};

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

/* By which kind a packet goes to another node. */
static __always_inline void choose_way(struct way *way, const struct packet *pkt,
				       const struct place *to)
{
	struct place own;

	way->node = to->node;
	if (pkt->family == 4) {
		way->kind = KIND_TENANT4;
		/* Authentication covers the identification too, which else is lost with DF. */
		if (pkt->part || pkt->options || pkt->protocol == IPPROTO_AH)
			way->kind = KIND_OPTIONS4 + pkt->options;
		return;
	}
	way->kind = KIND_WHOLE6;
	if (!to->token || find(&own, pkt->vni, &pkt->source, pkt->generation) || !own.token)
		return;
	way->kind = KIND_TENANT6;
	way->source = own.token;
	way->destination = to->token;
}

/* How much longer a packet gets on its way. */
static __always_inline __u32 growth(const struct way *way)
{
	switch (way->kind) {
	case KIND_TENANT6:
		return 0;
	case KIND_WHOLE6:
		return IPV6_HEADER;
	default:
		return IPV6_HEADER - IPV4_HEADER;
	}
}

/* The largest of the packets that it stands for, as its sender sees it. */
static __always_inline __u32 largest(const struct __sk_buff *skb, const struct packet *pkt)
{
	if (gso_size(skb))
		return pkt->transport - ETH_HLEN + pkt->transport_header + gso_size(skb);
	return pkt->length;
}

/* Sends an endpoint's packet to another node. */
static __noinline int forward(struct __sk_buff *skb, const struct packet *pkt,
			      const struct endpoint *from, const struct place *to)
{
	struct way way = {};
	struct node *node;
	__u32 ifindex, mtu, least;
	int reason, excess;

	choose_way(&way, pkt, to);
	node = bpf_map_lookup_elem(&nodes, &way.node);
	if (!node)
		return drop(from->slot, REASON_NO_TUNNEL);
	if (!node->mtu)
		return refuse(skb, pkt, from, REASON_NODE_DEAD, UNREACHABLE);
	ifindex = node->ifindex;
	way.half = node->half;
	mtu = node->mtu - growth(&way);
	if (is_options4(way.kind) && gso_size(skb))
		return drop(from->slot, REASON_IP_OPTIONS);
	excess = largest(skb, pkt) - mtu;
	if (excess > 0) {
		least = way.kind == KIND_TENANT6 && mtu < IPV6_LEAST ? IPV6_LEAST : mtu;
		if (excess + mtu > least)
			return refuse(skb, pkt, from, REASON_PACKET_TOO_BIG, least);
		if (!may_cut(skb, pkt, &way))
			return refuse(skb, pkt, from, REASON_PACKET_TOO_BIG, mtu);
	}
	if (pkt->traced)
		return trace_end_at(0, way.node);
	if (excess > 0 && gso_size(skb)) {
		if (shorten_segments(skb, excess))
			return drop(from->slot, REASON_TRANSLATION);
		excess = 0;
	}
	if (pkt->tcp_flags & TCP_SYN) {
		reason = clamp_mss(skb, pkt,
				   mtu - TCP_HEADER -
					   (pkt->family == 4 ? IPV4_HEADER : IPV6_HEADER));
		if (reason)
			return drop(from->slot, reason);
	}
	reason = pkt->family == 4 ? translate_out4(skb, pkt, &way) : translate_out6(skb, pkt, &way);
	if (reason)
		return drop(from->slot, reason);
	count_tx(skb, from->slot, ETH_HLEN + pkt->length);
	if (excess > 0) {
		reason = send_cut(skb, pkt, mtu, ifindex);
		return reason < 0 ? drop(from->slot, REASON_TRANSLATION) : reason;
	}
	if (pkt->family == 6 || !is_udp_gso(skb, pkt))
		return bpf_redirect(ifindex, 0);
	skb->mark = TRANSLATED;
	return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
}

/*
 * A large UDP packet comes in once more after its translation: the kernel would not change
 * skb->protocol with it, but asks the Ethernet header when a packet enters a device. An endpoint
 * cannot set a mark: it does not leave a namespace, a guest or a wire.
 */
static __noinline int forward_again(struct __sk_buff *skb, const struct endpoint *from)
{
	struct overlay_header h;
	struct node *node;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &h, IPV6_HEADER))
		return drop(from->slot, REASON_MALFORMED);
	if (h.source.prefix != node_prefix || vni_of(&h.source) != from->vni)
		return drop(from->slot, REASON_SPOOFED_SOURCE);
	node = bpf_map_lookup_elem(&nodes, &h.destination.prefix);
	if (!node)
		return drop(from->slot, REASON_NO_TUNNEL);
	skb->mark = 0;
	return bpf_redirect(node->ifindex, 0);
}
