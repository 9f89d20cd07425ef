// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * The datapath of edgenet: two programs at the tc ingress hook, one for what endpoints send, one
 * for what tunnels bring. docs/architecture.md follows a packet through both.
 */
#include <linux/bpf.h>
#include <stddef.h>

#include "arp.h"
#include "host.h"
#include "route.h"

char _license[] SEC("license") = "GPL";

/* Is the frame from whom it should be, and to the gateway? */
static __always_inline int check_frame(const struct endpoint *ep, const struct frame *frame)
{
	int own = frame->ip.saddr == ep->address4.words[3];

	if (!own)
		return REASON_SPOOFED_SOURCE;
	if (!source_mac_ok(ep, frame->eth.h_source, own))
		return REASON_SPOOFED_MAC;
	if (!is_unicast(frame->ip.daddr))
		return REASON_MULTICAST;
	if (mac_of(frame->eth.h_dest) != GATEWAY_MAC)
		return REASON_NOT_GATEWAY;
	return REASON_NONE;
}

/* Cuts off what Ethernet padded a short packet with. */
static __always_inline int trim(struct __sk_buff *skb, __u32 length)
{
	if (skb->len == length)
		return REASON_NONE;
	if (skb->gso_size || bpf_skb_change_tail(skb, length, 0))
		return REASON_MALFORMED;
	return REASON_NONE;
}

/* Fills pkt from a frame of ep, or says what is wrong with it. */
static __always_inline int read_frame(struct __sk_buff *skb, const struct endpoint *ep,
				      struct frame *frame, struct packet *pkt)
{
	int reason;

	if (bpf_skb_load_bytes(skb, 0, &frame->eth, ETH_HLEN + IPV4_HEADER))
		return REASON_MALFORMED;
	reason = check_ipv4(&frame->ip, skb->len - ETH_HLEN);
	if (reason == REASON_MALFORMED)
		return reason;
	/* Who it is from comes before what it is: a stranger's packets are a stranger's. */
	int forged = check_frame(ep, frame);

	if (forged)
		return forged;
	if (reason)
		return reason;
	pkt->vni = ep->vni;
	map_ipv4(&pkt->source, frame->ip.saddr);
	map_ipv4(&pkt->destination, frame->ip.daddr);
	pkt->protocol = frame->ip.protocol;
	pkt->length = bpf_ntohs(frame->ip.tot_len);
	pkt->transport = ETH_HLEN + IPV4_HEADER;
	reason = trim(skb, ETH_HLEN + pkt->length);
	if (reason)
		return reason;
	return parse_transport(skb, pkt, pkt->length - IPV4_HEADER);
}

/* From one endpoint of this host to another. */
static __always_inline int deliver_local(struct __sk_buff *skb, const struct packet *pkt,
					 const struct endpoint *from, __u32 ifindex)
{
	struct endpoint *to = endpoint_of(ifindex);
	int reason;

	if (!to || to->vni != pkt->vni || !same_ip(&to->address4, &pkt->destination) || to == from)
		return drop(from->slot, REASON_NO_ROUTE);
	count_tx(skb, from->slot, ETH_HLEN + pkt->length);
	reason = admit(skb, pkt, to);
	if (reason)
		return drop(to->slot, reason);
	return deliver(skb, pkt, to, 0);
}

static __always_inline int handle_frame(struct __sk_buff *skb)
{
	struct endpoint *ep = endpoint_of(skb->ifindex);
	struct frame frame = {};
	struct packet pkt = {};
	struct place to;
	int reason;

	if (!ep)
		return drop(NOBODY, REASON_UNKNOWN_ENDPOINT);
	if (ep->flags & ENDPOINT_SUPERSEDED)
		return drop(ep->slot, REASON_SUPERSEDED);
	if (skb->vlan_present)
		return drop(ep->slot, REASON_UNSUPPORTED_PROTOCOL);
	if (skb->mark == TRANSLATED && skb->protocol == bpf_htons(ETH_P_IPV6))
		return forward_again(skb, ep);
	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return handle_arp(skb, ep);
	if (skb->protocol != bpf_htons(ETH_P_IP))
		return drop(ep->slot, REASON_UNSUPPORTED_PROTOCOL);
	reason = read_frame(skb, ep, &frame, &pkt);
	if (reason)
		return drop(ep->slot, reason);
	pkt.generation = current_generation();
	if (find(&to, pkt.vni, &pkt.destination, pkt.generation))
		return drop(ep->slot, REASON_NO_ROUTE);
	pkt.source_identity = ep->rules[pkt.generation & 1].identity4;
	pkt.destination_identity = to.identity;
	reason = track(skb, &pkt, ep, EGRESS);
	if (reason)
		return drop(ep->slot, reason);
	if (to.ifindex)
		return deliver_local(skb, &pkt, ep, to.ifindex);
	return forward(skb, &frame.ip, &pkt, ep, to.node);
}

SEC("tc")
int from_endpoint(struct __sk_buff *skb)
{
	return settle(skb, handle_frame(skb), EGRESS);
}

/* Fills pkt from a tenant's packet under an overlay header, or says what is wrong with it. */
static __always_inline int read_overlay(struct __sk_buff *skb, const struct overlay_header *h,
					struct packet *pkt)
{
	__u32 payload = bpf_ntohs(h->payload);

	pkt->vni = bpf_ntohl(h->destination.kind_vni) & 0xffffff;
	map_ipv4(&pkt->source, h->source.address);
	map_ipv4(&pkt->destination, h->destination.address);
	pkt->protocol = h->protocol;
	pkt->transport = tunnel_header + IPV6_HEADER;
	if (!h->hop_limit || payload > 0xffff - IPV4_HEADER)
		return REASON_MALFORMED;
	pkt->length = payload + IPV4_HEADER;
	return parse_transport(skb, pkt, payload);
}

/* A packet from another node's endpoint to one of this node's. */
static __always_inline int handle_tenant(struct __sk_buff *skb, struct overlay_header *h)
{
	struct packet pkt = {};
	struct place from, to;
	struct endpoint *ep;
	int reason = read_overlay(skb, h, &pkt), stale = 0;

	if (reason)
		return drop(NOBODY, reason);
	pkt.generation = current_generation();
	if (find(&to, pkt.vni, &pkt.destination, pkt.generation) || !to.ifindex)
		return drop(NOBODY, REASON_NO_ROUTE);
	ep = endpoint_of(to.ifindex);
	if (!ep || ep->vni != pkt.vni || !same_ip(&ep->address4, &pkt.destination))
		return drop(NOBODY, REASON_NO_ROUTE);
	/* The tunnel proved which node sent it: that node must own the source, in this VPC. */
	if (h->source.kind_vni != h->destination.kind_vni ||
	    find(&from, pkt.vni, &pkt.source, pkt.generation) || from.ifindex ||
	    from.node != h->source.prefix)
		return drop(ep->slot, REASON_NOT_OWNER);
	pkt.source_identity = from.identity;
	reason = admit(skb, &pkt, ep);
	if (!reason)
		reason = translate_in(skb, h, &pkt, &stale);
	if (reason)
		return drop(ep->slot, reason);
	return deliver(skb, &pkt, ep, stale);
}

static __always_inline int handle_overlay(struct __sk_buff *skb)
{
	struct overlay_header h;

	if (skb->protocol != bpf_htons(ETH_P_IPV6))
		return drop(NOBODY, REASON_UNSUPPORTED_PROTOCOL);
	if (bpf_skb_load_bytes(skb, tunnel_header, &h, IPV6_HEADER))
		return drop(NOBODY, REASON_MALFORMED);
	if (bpf_ntohl(h.version_class_label) >> 28 != 6 ||
	    bpf_ntohs(h.payload) != skb->len - tunnel_header - IPV6_HEADER)
		return drop(NOBODY, REASON_MALFORMED);
	if (h.destination.prefix != node_prefix)
		return drop(NOBODY, REASON_FOREIGN_DESTINATION);
	switch (bpf_ntohl(h.destination.kind_vni) >> 24) {
	case KIND_NODE:
		return handle_host(skb, &h);
	case KIND_TENANT4:
		return handle_tenant(skb, &h);
	default:
		return drop(NOBODY, REASON_FOREIGN_DESTINATION);
	}
}

SEC("tc")
int from_tunnel(struct __sk_buff *skb)
{
	return settle(skb, handle_overlay(skb), INGRESS);
}
