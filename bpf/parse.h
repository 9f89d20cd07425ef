// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* Headers in, one struct packet out. Whatever is odd is refused here. */
#pragma once

#include "maps.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
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

#define ICMPV6_LAST_ERROR   127
#define ICMPV6_ECHO_REQUEST 128
#define ICMPV6_ECHO_REPLY   129

#define IPV4_HEADER 20
#define IPV6_HEADER 40

/* How much of a packet it is. */
enum part {
	PART_WHOLE,
	PART_FIRST, /* the fragment with the transport header */
	PART_LATER,
};

/* A tenant's packet, whichever header it travels under. Ports and lengths in host order. */
struct packet {
	__u64 generation;
	__u64 source_identity;
	__u64 destination_identity;
	__u64 place; /* of the other side, in one word; 0 if it is not known */
	union ip source;
	union ip destination;
	__u32 vni;
	__u32 transport; /* offset of the transport header in the skb */
	__u32 fragmentable; /* offset of what fragments divide */
	__u32 identification; /* what the fragments of one packet share */
	__u32 length; /* of the IP packet, header included */
	__u32 segment; /* bytes behind the transport header */
	__u32 tcp_sequence;
	__u32 tcp_ack;
	__u16 tcp_window;
	__u16 offset; /* of a fragment, bytes */
	__u16 source_port; /* of ICMP echo: the identifier, in both */
	__u16 destination_port;
	__sum16 checksum; /* of the IPv4 header */
	__u8 family; /* 4 or 6 */
	__u8 protocol;
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 transport_header; /* bytes; 0 of what has no header that matters, and of later fragments */
	__u8 part; /* enum part */
	__u8 more : 1; /* fragments follow */
	__u8 dont_fragment : 1;
	__u8 finished : 1; /* its own checksum is whole, and one inside of it is yet to be written */
	__u8 options; /* IPv4's, in words */
	__u8 hop_limit;
	__u8 class; /* type of service, traffic class */
	__u8 recalled; /* its flow permits it and told the place: no rule is asked */
	__u8 traced; /* made to see what would become of it: nothing may follow from it */
};

/* Which part of a packet it is, by what its header says of fragments. */
static __always_inline void set_part(struct packet *pkt, __u16 offset, __u32 more)
{
	pkt->offset = offset;
	pkt->more = !!more;
	if (offset)
		pkt->part = PART_LATER;
	else if (more)
		pkt->part = PART_FIRST;
}

/* Ethernet and IPv4 headers; the padding aligns the latter. */
struct frame4 {
	__u16 reserved;
	struct ethhdr eth;
	struct iphdr ip;
};

/*
 * The first bit behind a node's /64 says by which of two keys of the node a packet goes, while the
 * node changes keys: in kind_vni, this bit. It means nothing else.
 */
#define UPPER bpf_htonl(1U << 31)

struct overlay_address {
	__u64 prefix; /* the node's /64 */
	__be32 kind_vni; /* half << 31 | kind << 24 | VNI */
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

/*
 * The payload of each packet that this one stands for (GSO), 0 if it stands for itself. A compiler
 * would keep the field's address, and the verifier wants the context's own.
 */
static __always_inline __u32 gso_size(const struct __sk_buff *skb)
{
	__u32 size;

	asm volatile("%0 = *(u32 *)(%1 + %2)"
		     : "=r"(size)
		     : "r"(skb), "i"(__builtin_offsetof(struct __sk_buff, gso_size)));
	return size;
}

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

/* The checksum of an IPv4 header whose options add up to options: 0 if the one in it is right. */
static __always_inline __u16 ip_checksum(const struct iphdr *ip, __u32 options)
{
	const __u32 *words = (const __u32 *)ip;

	return ~fold((__u64)words[0] + words[1] + words[2] + words[3] + words[4] + options);
}

/* 224.0.0.0 and all above: multicast, reserved, broadcast. And 0.0.0.0/8. */
static __always_inline int is_unicast4(__be32 address)
{
	__u8 first = bpf_ntohl(address) >> 24;

	return first && first < 224;
}

/* Multicast, and ::/64: unspecified, loopback, and how IPv4 is written in the tables. */
static __always_inline int is_unicast6(const union ip *ip)
{
	return ip->halves[0] && ip->bytes[0] != 0xff;
}

static __always_inline int is_link_local(const union ip *ip)
{
	return (ip->words[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* Is it of the mesh's own /24, which this node's /64 is in? */
static __always_inline int is_overlay(const union ip *ip)
{
	return !((ip->halves[0] ^ node_prefix) & bpf_cpu_to_be64(0xffffff0000000000ULL));
}

/* Where the transport checksum is that covers the addresses, or -1. */
static __always_inline int checksum_offset(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_DCCP:
		return 6;
	case IPPROTO_ICMPV6:
		return 2;
	default:
		return -1;
	}
}

/* Bytes that the header of a protocol has at least; 0 of those that are not looked into. */
static __always_inline __u32 least_header(const struct packet *pkt)
{
	switch (pkt->protocol) {
	case IPPROTO_TCP:
		return 20;
	case IPPROTO_SCTP:
		return 12;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_DCCP:
		return 8;
	default:
		return 0;
	}
}

static __always_inline __u32 be32_at(const __u8 *bytes)
{
	return (__u32)bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
}

/* The header before the payload of a packet that ends at end, an offset in the skb. */
static __always_inline int parse_transport(struct __sk_buff *skb, struct packet *pkt, __u32 end)
{
	int cut_off = pkt->part == PART_FIRST ? REASON_FRAGMENT_SHORT : REASON_MALFORMED;
	__u32 room = end - pkt->transport, least = least_header(pkt);
	__u8 header[20] = {};

	if (pkt->protocol == (pkt->family == 4 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
		return REASON_UNSUPPORTED_PROTOCOL;
	if (!least)
		return REASON_NONE;
	if (room < least || bpf_skb_load_bytes(skb, pkt->transport, header, 8))
		return cut_off;
	pkt->transport_header = least;
	pkt->source_port = header[0] << 8 | header[1];
	pkt->destination_port = header[2] << 8 | header[3];
	switch (pkt->protocol) {
	case IPPROTO_TCP:
		if (bpf_skb_load_bytes(skb, pkt->transport, header, 20))
			return cut_off;
		pkt->tcp_flags = header[13];
		pkt->tcp_sequence = be32_at(header + 4);
		pkt->tcp_ack = be32_at(header + 8);
		pkt->tcp_window = header[14] << 8 | header[15];
		pkt->transport_header = (header[12] >> 4) * 4;
		if (pkt->transport_header < 20)
			return REASON_MALFORMED;
		pkt->segment = room - pkt->transport_header;
		return pkt->transport_header > room ? cut_off : REASON_NONE;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		pkt->icmp_type = header[0];
		pkt->icmp_code = header[1];
		pkt->source_port = pkt->destination_port = header[4] << 8 | header[5];
		return REASON_NONE;
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		return REASON_NONE;
	default:
		pkt->source_port = pkt->destination_port = 0;
		return REASON_NONE;
	}
}
