// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * The datapath of edgenet: two programs at the tc ingress hook, one for what endpoints send, one
 * for what tunnels bring. docs/architecture.md follows a packet through both.
 */
#include <linux/bpf.h>
#include <stddef.h>

#include "arp.h"
#include "host.h"
#include "nd.h"
#include "route.h"

char _license[] SEC("license") = "GPL";

/* From one endpoint of this host to another. */
static __always_inline int deliver_local(struct __sk_buff *skb, const struct packet *pkt,
					 const struct endpoint *from, __u32 ifindex)
{
	struct endpoint *to = endpoint_of(ifindex);
	int reason;

	if (!to || to->vni != pkt->vni || to == from)
		return drop(from->slot, REASON_NO_ROUTE);
	if (!pkt->traced)
		count_tx(skb, from->slot, ETH_HLEN + pkt->length);
	reason = admit(skb, pkt, to);
	if (!reason && pkt->traced)
		return trace_end_at(ifindex, 0);
	if (!reason && take_hop(skb, pkt))
		reason = REASON_TRANSLATION;
	if (reason)
		return drop(to->slot, reason);
	return deliver(skb, pkt, to, 0);
}

/* Takes a packet of ep to where it goes. */
static __always_inline int route(struct __sk_buff *skb, struct packet *pkt,
				 const struct endpoint *ep)
{
	struct place to;
	int reason;

	if (find(&to, pkt->vni, &pkt->destination, pkt->generation))
		return drop(ep->slot, REASON_NO_ROUTE);
	if (to.flags & PLACE_GATEWAY)
		return handle_gateway(skb, pkt, ep);
	if (pkt->hop_limit == 1)
		return refuse(skb, pkt, ep, REASON_TTL_EXPIRED, 0);
	pkt->destination_identity = to.identity;
	reason = track(skb, pkt, ep, EGRESS);
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

/* The tunnel proved which node sent a packet: that node must have the source, in this VPC. */
static __noinline int owns_source(const struct overlay_header *h, struct packet *pkt)
{
	struct place from;

	/* Of those with options, the source's VNI is something else. */
	if (is_options4(kind_of(&h->destination)) ? kind_of(&h->source) != kind_of(&h->destination)
						  : h->source.kind_vni != h->destination.kind_vni)
		return 0;
	if (find(&from, pkt->vni, &pkt->source, pkt->generation) || from.ifindex ||
	    from.node != h->source.prefix)
		return 0;
	pkt->source_identity = from.identity;
	return 1;
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
	struct endpoint *ep;
	int reason = read_overlay(skb, h, &pkt), stale = 0;

	if (reason)
		return drop(NOBODY, reason);
	pkt.generation = current_generation();
	pkt.traced = is_traced(skb);
	ep = receiver(&pkt);
	if (!ep)
		return drop(NOBODY, REASON_NO_ROUTE);
	if (!owns_source(h, &pkt))
		return drop(ep->slot, REASON_NOT_OWNER);
	if (pkt.part)
		reason = join_fragment(&pkt, ep->id);
	if (!reason && is_link_control(&pkt))
		reason = REASON_NEIGHBOR_DISCOVERY;
	if (!reason)
		reason = admit(skb, &pkt, ep);
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

	/* A made packet has no link header that could say it. */
	if (skb->protocol != bpf_htons(ETH_P_IPV6) && !is_traced(skb))
		return drop(NOBODY, REASON_UNSUPPORTED_PROTOCOL);
	if (bpf_skb_load_bytes(skb, tunnel_header, &h, IPV6_HEADER))
		return drop(NOBODY, REASON_MALFORMED);
	if (bpf_ntohl(h.version_class_label) >> 28 != 6 ||
	    bpf_ntohs(h.payload) != skb->len - tunnel_header - IPV6_HEADER)
		return drop(NOBODY, REASON_MALFORMED);
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
