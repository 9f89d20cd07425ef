// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* ICMP errors pass if what they quote is a flow that passes. */
#pragma once

#include "flow.h"
#include "locate.h"
#include "trace.h"

/* Extension headers in a quoted packet that are looked behind. */
#define QUOTED_HEADERS 4

/*
 * Reads the addresses of a quoted packet and its protocol into key, and returns where its transport
 * header is, as an offset in the skb. 0 is nowhere: of a later fragment, or behind too many headers.
 */
static __always_inline __u32 read_quoted4(struct __sk_buff *skb, __u32 at, struct flow_key *key,
					  int sent)
{
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5 ||
	    ip.frag_off & bpf_htons(IP_OFFSET))
		return 0;
	map_ipv4(&key->local, sent ? ip.saddr : ip.daddr);
	map_ipv4(&key->remote, sent ? ip.daddr : ip.saddr);
	key->protocol = ip.protocol;
	return at + ip.ihl * 4;
}

static __always_inline __u32 read_quoted6(struct __sk_buff *skb, __u32 at, struct flow_key *key,
					  int sent)
{
	__u8 head[8], next;

	if (bpf_skb_load_bytes(skb, at, head, sizeof(head)) || head[0] >> 4 != 6 ||
	    bpf_skb_load_bytes(skb, at + 8, sent ? &key->local : &key->remote, 16) ||
	    bpf_skb_load_bytes(skb, at + 24, sent ? &key->remote : &key->local, 16))
		return 0;
	next = head[6];
	at += IPV6_HEADER;
	for (int i = 0; i < QUOTED_HEADERS; i++) {
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
		    next != IPPROTO_FRAGMENT)
			break;
		if (bpf_skb_load_bytes(skb, at, head, 4))
			return 0;
		if (next == IPPROTO_FRAGMENT && (head[2] || head[3] & 0xf8))
			return 0;
		at += next == IPPROTO_FRAGMENT ? 8 : (head[1] + 1) * 8;
		next = head[0];
	}
	key->protocol = next;
	return at;
}

/* Reads the ports of a quoted packet into key; sent if the endpoint has sent that packet. */
static __always_inline int read_quoted_ports(struct __sk_buff *skb, __u32 at, struct flow_key *key,
					     int sent)
{
	__u16 from, to;
	__u8 ports[8];

	if (!has_ports(key->protocol) && !is_icmp(key->protocol))
		return 0;
	if (bpf_skb_load_bytes(skb, at, ports, sizeof(ports)))
		return -1;
	if (is_icmp(key->protocol)) {
		if (!is_echo(key->protocol, ports[0]))
			return -1;
		key->local_port = ports[4] << 8 | ports[5];
		key->remote_port = echo_key(sent == is_request(key->protocol, ports[0]), ports[1]);
		return 0;
	}
	from = ports[0] << 8 | ports[1];
	to = ports[2] << 8 | ports[3];
	key->local_port = sent ? from : to;
	key->remote_port = sent ? to : from;
	return 0;
}

/* Does the error speak of a flow that ep has, and that passes? */
__noinline int related(struct __sk_buff *skb, const struct packet *pkt, __u32 endpoint,
		       __u32 direction)
{
	struct flow_key key = {.endpoint = endpoint};
	int sent = direction == INGRESS; /* what it is about went the other way */
	struct flow *flow;
	__u32 at;

	if (!pkt)
		return 0;
	at = pkt->transport + 8;
	at = pkt->protocol == IPPROTO_ICMP ? read_quoted4(skb, at, &key, sent)
					   : read_quoted6(skb, at, &key, sent);
	/* An error goes to whoever has sent what it is about. */
	if (!at || !same_ip(sent ? &key.local : &key.remote, &pkt->destination) ||
	    read_quoted_ports(skb, at, &key, sent))
		return 0;
	flow = bpf_map_lookup_elem(&flows, &key);
	if (!flow || !is_alive(flow) || flow->generation != pkt->generation)
		return 0;
	if (pkt->traced)
		trace_flow(pkt, endpoint, flow, direction);
	return 1;
}

/*
 * Is what sends an error to an endpoint where the flow goes that it speaks of: the other end, or a
 * router before it? Anyone else who knows the flow could break it.
 */
static __noinline int is_on_the_way(struct __sk_buff *skb, const struct packet *pkt)
{
	__u32 at = pkt->transport + 8, ifindex;
	struct place place;
	union ip to = {};
	__u64 node;

	if (pkt->family == 4) {
		map_ipv4(&to, 0);
		if (bpf_skb_load_bytes(skb, at + 16, &to.words[3], 4))
			return 0;
	} else if (bpf_skb_load_bytes(skb, at + 24, &to, sizeof(to))) {
		return 0;
	}
	if (same_ip(&pkt->source, &to))
		return 1;
	if (find(&place, pkt->vni, &to, pkt->generation))
		return 0;
	ifindex = place.ifindex;
	node = place.node;
	return !find(&place, pkt->vni, &pkt->source, pkt->generation) && place.ifindex == ifindex &&
	       place.node == node;
}
