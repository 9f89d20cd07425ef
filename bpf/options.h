// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* IPv4's options and IPv6's extension headers: what may stand between addresses and ports. */
#pragma once

#include "parse.h"

#define MAX_OPTIONS    40 /* bytes */
#define MAX_EXTENSIONS 8

/* Of an option's type, without the bit that says whether fragments copy it (RFC 791). */
#define OPTION_END	    0
#define OPTION_NOP	    1
#define OPTION_LOOSE_ROUTE  3
#define OPTION_STRICT_ROUTE 9

/* Takes the options of an IPv4 header at offset apart, and adds them up for its checksum. */
__noinline int check_options(struct __sk_buff *skb, __u32 offset, __u32 words, __u32 *sum)
{
	__u8 options[MAX_OPTIONS + 4] __attribute__((aligned(4))) = {};
	__u32 last = words - 1, size, length, skip = 0;

	if (!sum)
		return REASON_MALFORMED;
	*sum = 0;
	if (!words)
		return REASON_NONE;
	/* An addition tells kernels like 6.1 that there is a byte to read; one read, not ten. */
	barrier_var(last);
	if (last >= MAX_OPTIONS / 4)
		return REASON_MALFORMED;
	size = 4 * last + 4;
	if (bpf_skb_load_bytes(skb, offset, options, size))
		return REASON_MALFORMED;
	/* What is behind the end is zero, and adds nothing. */
	*sum = fold(bpf_csum_diff(NULL, 0, (__be32 *)options, MAX_OPTIONS, 0));
	for (__u32 i = 0; i < MAX_OPTIONS && i < size; i++) {
		__u8 type = options[i] & 0x7f;

		if (i < skip || type == OPTION_NOP)
			continue;
		if (type == OPTION_END)
			break;
		length = options[i + 1];
		if (length < 2 || i + length > size)
			return REASON_MALFORMED;
		if (type == OPTION_LOOSE_ROUTE || type == OPTION_STRICT_ROUTE)
			return REASON_SOURCE_ROUTING;
		skip = i + length;
	}
	return REASON_NONE;
}

/* How extension headers begin (RFC 8200); of a fragment header, all of it. */
struct extension {
	__u8 next;
	__u8 length;
	__be16 fragment;
	__be32 identification;
};

#define EXTENSION_OFFSET 0xfff8
#define EXTENSION_MORE	 1

static __always_inline int is_extension(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_DSTOPTS ||
	       protocol == IPPROTO_ROUTING || protocol == IPPROTO_FRAGMENT ||
	       protocol == IPPROTO_AH;
}

static __always_inline int read_fragment_header(struct packet *pkt, const struct extension *e,
						__u32 after)
{
	__u16 fragment = bpf_ntohs(e->fragment);

	if (pkt->part || pkt->fragmentable)
		return REASON_EXTENSION_HEADERS;
	pkt->fragmentable = after;
	pkt->identification = bpf_ntohl(e->identification);
	set_part(pkt, fragment & EXTENSION_OFFSET, fragment & EXTENSION_MORE);
	return REASON_NONE;
}

/*
 * Follows the extension headers of a packet that ends at end, to its transport header. A chain that
 * does not lead to one in this packet hides the ports, and is refused.
 */
__noinline int walk_extensions(struct __sk_buff *skb, struct packet *pkt, __u32 end)
{
	__u32 offset, size;
	struct extension e;
	__u8 next;

	if (!pkt)
		return REASON_MALFORMED;
	offset = pkt->transport;
	next = pkt->protocol;

	for (int i = 0; i <= MAX_EXTENSIONS; i++) {
		if (!is_extension(next) || pkt->part == PART_LATER) {
			pkt->protocol = next;
			pkt->transport = offset;
			return REASON_NONE;
		}
		if (next == IPPROTO_ROUTING)
			return REASON_SOURCE_ROUTING;
		if ((next == IPPROTO_HOPOPTS && i) || offset + 8 > end ||
		    bpf_skb_load_bytes(skb, offset, &e, sizeof(e)))
			return REASON_EXTENSION_HEADERS;
		size = 8;
		if (next == IPPROTO_AH)
			size = (e.length + 2) * 4;
		else if (next != IPPROTO_FRAGMENT)
			size = (e.length + 1) * 8;
		if (offset + size > end)
			return REASON_EXTENSION_HEADERS;
		offset += size;
		if (next == IPPROTO_FRAGMENT && read_fragment_header(pkt, &e, offset))
			return REASON_EXTENSION_HEADERS;
		next = e.next;
	}
	return REASON_EXTENSION_HEADERS;
}
