// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * The datapath of edgenet: two programs at the tc ingress hook, one for what endpoints send, one
 * for what tunnels bring. docs/architecture.md follows a packet through both.
 */
#include <linux/bpf.h>
#include <stddef.h>

#include "arp.h"
#include "host.h"
#include "ipsec.h"
#include "link.h"
#include "nd.h"
#include "route.h"

char _license[] SEC("license") = "GPL";

/* From one endpoint of this host to another. */
static __always_inline int deliver_local(struct __sk_buff *skb, struct packet *pkt,
					 const struct endpoint *from, __u32 ifindex)
{
	struct endpoint *to = endpoint_of(ifindex);
	int reason;

	if (!to || to->vni != pkt->vni || to == from)
		return drop(from->slot, REASON_NO_ROUTE);
	if (!pkt->traced)
		count_tx(skb, from->slot, ETH_HLEN + pkt->length);
	/* The receiver sees its own side of it. */
	pkt->recalled = 0;
	pkt->place = (__u64)from->ifindex << 32;
	reason = admit(skb, pkt, to, flow_of(pkt, to, INGRESS));
	if (!reason && pkt->traced)
		return trace_end_at(ifindex, 0);
	if (!reason && take_hop(skb, pkt))
		reason = REASON_TRANSLATION;
	if (reason)
		return drop(to->slot, reason);
	return deliver(skb, pkt, to, 0);
}

/* What its flow knows of where a packet goes. It does not know the tokens of IPv6. */
static __always_inline int recall_way(struct place *to, const struct flow *flow, struct packet *pkt,
				      const struct endpoint *ep)
{
	__u64 place = recall(flow, pkt, ep->id, EGRESS);

	to->ifindex = place >> 32;
	if (place && (__u32)place) {
		if (pkt->family != 4)
			return 0;
		to->ifindex = 0;
		to->node = place;
	}
	pkt->recalled = !!place;
	return pkt->recalled;
}

/* Takes a packet of ep to where it goes. */
static __always_inline int route(struct __sk_buff *skb, struct packet *pkt,
				 const struct endpoint *ep)
{
	struct flow *flow = flow_of(pkt, ep, EGRESS);
	struct place to = {};
	int reason;

	if (!recall_way(&to, flow, pkt, ep)) {
		if (find(&to, pkt->vni, &pkt->destination, pkt->generation))
			return drop(ep->slot, REASON_NO_ROUTE);
		if (to.flags & PLACE_GATEWAY)
			return handle_gateway(skb, pkt, ep);
		pkt->place = word_of(&to);
	}
	if (pkt->hop_limit == 1)
		return refuse(skb, pkt, ep, REASON_TTL_EXPIRED, EXPIRED);
	pkt->destination_identity = to.identity;
	reason = track(skb, pkt, ep, EGRESS, flow);
	if (reason)
		return drop(ep->slot, reason);
	if (to.ifindex)
		return deliver_local(skb, pkt, ep, to.ifindex);
	return forward(skb, pkt, ep, &to);
}

static __always_inline int handle_frame(struct __sk_buff *skb)
{
	struct endpoint *ep = endpoint_of(skb->ifindex);
	struct packet pkt = {};
	int reason;

	if (!ep)
		return drop(NOBODY, REASON_UNKNOWN_ENDPOINT);
	if (ep->flags & ENDPOINT_SUPERSEDED)
		return drop(ep->slot, REASON_SUPERSEDED);
	if (skb->vlan_present)
		return drop(ep->slot, REASON_UNSUPPORTED_PROTOCOL);
	if (skb->mark == TRANSLATED && skb->protocol == bpf_htons(ETH_P_IPV6))
		return forward_again(skb, ep);
	pkt.vni = ep->vni;
	pkt.generation = current_generation();
	pkt.traced = is_traced(skb);
	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return handle_arp(skb, ep, pkt.generation);
	if (skb->protocol == bpf_htons(ETH_P_IP))
		reason = read_ipv4(skb, ep, &pkt);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		reason = read_ipv6(skb, ep, &pkt);
	else
		reason = REASON_UNSUPPORTED_PROTOCOL;
	if (reason)
		return drop(ep->slot, reason);
	if (is_link_control(&pkt) && !pkt.traced)
		return handle_nd(skb, &pkt, ep);
	return route(skb, &pkt, ep);
}

SEC("tc")
int from_endpoint(struct __sk_buff *skb)
{
	return settle(skb, handle_frame(skb), EGRESS);
}

/* Is the source of the packet at a node, in this VPC? Says who it is to the rules. */
static __noinline int is_at(struct packet *pkt, __u64 node)
{
	struct place from;

	if (find(&from, pkt->vni, &pkt->source, pkt->generation) || from.ifindex ||
	    from.node != node)
		return 0;
	pkt->source_identity = from.identity;
	return 1;
}

/* The tunnel proved which node sent a packet: that node must have the source, in this VPC. */
static __always_inline int owns_source(const struct overlay_header *h, struct packet *pkt,
				       const struct endpoint *ep, const struct flow *flow)
{
	/* Of those with options, the source's VNI is something else. */
	if (is_options4(kind_of(&h->destination))
		    ? kind_of(&h->source) != kind_of(&h->destination)
		    : (h->source.kind_vni ^ h->destination.kind_vni) & ~UPPER)
		return 0;
	pkt->place = h->source.prefix;
	if (pkt->place && recall(flow, pkt, ep->id, INGRESS) == pkt->place) {
		pkt->recalled = 1;
		return 1;
	}
	return is_at(pkt, h->source.prefix);
}

/* The endpoint of this node that has the destination. */
static __noinline struct endpoint *receiver(const struct packet *pkt)
{
	struct endpoint *ep;
	struct place to;

	if (find(&to, pkt->vni, &pkt->destination, pkt->generation) || !to.ifindex)
		return NULL;
	ep = endpoint_of(to.ifindex);
	return ep && ep->vni == pkt->vni ? ep : NULL;
}

/* A packet from another node's endpoint to one of this node's. */
static __always_inline int handle_tenant(struct __sk_buff *skb, struct overlay_header *h)
{
	struct packet pkt = {};
	struct flow *flow = NULL;
	struct endpoint *ep;
	int reason = read_overlay(skb, h, &pkt), stale = 0;

	if (reason)
		return drop(NOBODY, reason);
	pkt.generation = current_generation();
	pkt.traced = is_traced(skb);
	ep = receiver(&pkt);
	if (!ep)
		return drop(NOBODY, REASON_NO_ROUTE);
	if (!pkt.part)
		flow = flow_of(&pkt, ep, INGRESS);
	if (!owns_source(h, &pkt, ep, flow))
		return drop(ep->slot, REASON_NOT_OWNER);
	if (pkt.part) {
		reason = join_fragment(&pkt, ep->id);
		flow = flow_of(&pkt, ep, INGRESS);
	}
	if (!reason && is_link_control(&pkt))
		reason = REASON_NEIGHBOR_DISCOVERY;
	if (!reason)
		reason = admit(skb, &pkt, ep, flow);
	if (!reason && pkt.traced)
		return trace_end_at(ep->ifindex, 0);
	if (!reason)
		reason = translate_in(skb, h, &pkt, &stale);
	if (reason)
		return drop(ep->slot, reason);
	return deliver(skb, &pkt, ep, stale);
}

static __always_inline int handle_overlay(struct __sk_buff *skb)
{
	struct overlay_header h;
	__u32 kind;
	int reason;

	if (skb->protocol != bpf_htons(ETH_P_IPV6))
		return drop(NOBODY, REASON_UNSUPPORTED_PROTOCOL);
	if (find_header(skb, &h))
		return drop(NOBODY, REASON_MALFORMED);
	reason = level(skb, &h);
	if (reason)
		return drop(NOBODY, reason);
	if (!is_of_peer(skb, h.source.prefix))
		return drop(NOBODY, REASON_NOT_OWNER);
	if (h.destination.prefix != node_prefix)
		return drop(NOBODY, REASON_FOREIGN_DESTINATION);
	kind = kind_of(&h.destination);
	if (kind == KIND_NODE)
		return handle_host(skb, &h);
	if (kind <= KIND_WHOLE6 || is_options4(kind))
		return handle_tenant(skb, &h);
	return drop(NOBODY, REASON_FOREIGN_DESTINATION);
}

SEC("tc")
int from_tunnel(struct __sk_buff *skb)
{
	return settle(skb, handle_overlay(skb), INGRESS);
}
