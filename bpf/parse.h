// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* Headers in, one struct packet out. Whatever is odd is refused here. */
#pragma once

#include "types.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>

#define IP_DF	    0x4000
#define IP_MF	    0x2000
#define IP_RESERVED 0x8000
#define IP_OFFSET   0x1fff

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define ICMP_ECHO_REPLY	       0
#define ICMP_UNREACHABLE       3
#define ICMP_ECHO_REQUEST      8
#define ICMP_TIME_EXCEEDED     11
#define ICMP_PARAMETER_PROBLEM 12

#define IPV4_HEADER 20
#define IPV6_HEADER 40

/* A tenant's packet, whichever header it travels under. Ports and lengths in host order. */
struct packet {
	__u64 generation;
	__u64 source_identity;
	__u64 destination_identity;
	union ip source;
	union ip destination;
	__u32 vni;
	__u32 transport; /* offset of the transport header in the skb */
	__u16 length; /* of the IPv4 packet, header included */
	__u16 source_port; /* of ICMP echo: the identifier, in both */
	__u16 destination_port;
	__u8 protocol;
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 transport_header; /* bytes */
};

/* Ethernet and IPv4 headers; the padding aligns the latter. */
struct frame {
	__u16 reserved;
	struct ethhdr eth;
	struct iphdr ip;
};

struct overlay_address {
	__u64 prefix; /* the node's /64 */
	__be32 kind_vni; /* kind << 24 | VNI */
	__be32 address;
};

struct overlay_header {
	__be32 version_class_label;
	__be16 payload;
	__u8 protocol;
	__u8 hop_limit;
	struct overlay_address source;
	struct overlay_address destination;
};

/* The form of an IPv4 address that maps and flows have. */
static __always_inline void map_ipv4(union ip *ip, __be32 address)
{
	ip->halves[0] = 0;
	ip->words[2] = bpf_htonl(0xffff);
	ip->words[3] = address;
}

static __always_inline int same_ip(const union ip *a, const union ip *b)
{
	return a->halves[0] == b->halves[0] && a->halves[1] == b->halves[1];
}

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* The checksum of an IPv4 header without options: 0 if the one in it is right. */
static __always_inline __u16 ip_checksum(const struct iphdr *ip)
{
	const __u32 *words = (const __u32 *)ip;

	return ~fold((__u64)words[0] + words[1] + words[2] + words[3] + words[4]);
}

/* The ports of TCP, UDP and ICMP, with room bytes of transport in the packet. */
static __always_inline int parse_transport(struct __sk_buff *skb, struct packet *pkt, __u32 room)
{
	__u8 header[20];

	switch (pkt->protocol) {
	case IPPROTO_TCP:
		if (room < 20 || bpf_skb_load_bytes(skb, pkt->transport, header, 20))
			return REASON_MALFORMED;
		pkt->tcp_flags = header[13];
		pkt->transport_header = (header[12] >> 4) * 4;
		if (pkt->transport_header < 20 || pkt->transport_header > room)
			return REASON_MALFORMED;
		break;
	case IPPROTO_UDP:
		if (room < 8 || bpf_skb_load_bytes(skb, pkt->transport, header, 8))
			return REASON_MALFORMED;
		pkt->transport_header = 8;
		break;
	case IPPROTO_ICMP:
		if (room < 8 || bpf_skb_load_bytes(skb, pkt->transport, header, 8))
			return REASON_MALFORMED;
		pkt->transport_header = 8;
		pkt->icmp_type = header[0];
		pkt->icmp_code = header[1];
		pkt->source_port = pkt->destination_port = header[4] << 8 | header[5];
		return REASON_NONE;
	default:
		return REASON_NONE;
	}
	pkt->source_port = header[0] << 8 | header[1];
	pkt->destination_port = header[2] << 8 | header[3];
	return REASON_NONE;
}

/* What a router must refuse of an IPv4 header, and what this one cannot translate yet. */
static __always_inline int check_ipv4(const struct iphdr *ip, __u32 room)
{
	__u16 length = bpf_ntohs(ip->tot_len);
	__u16 fragment = bpf_ntohs(ip->frag_off);

	if (ip->version != 4 || ip->ihl < 5 || length < ip->ihl * 4 || length > room || !ip->ttl)
		return REASON_MALFORMED;
	if (ip->ihl > 5)
		return REASON_IP_OPTIONS;
	if (ip_checksum(ip) || fragment & IP_RESERVED)
		return REASON_MALFORMED;
	if (fragment & (IP_MF | IP_OFFSET))
		return REASON_FRAGMENT;
	return REASON_NONE;
}

/* 224.0.0.0 and all above: multicast, reserved, broadcast. And 0.0.0.0/8. */
static __always_inline int is_unicast(__be32 address)
{
	__u8 first = bpf_ntohl(address) >> 24;

	return first && first < 224;
}
