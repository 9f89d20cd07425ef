// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* What a TCP endpoint offers to take fits the tunnel (RFC 6691): not all paths tell of big packets. */
#pragma once

#include "parse.h"

#define TCP_HEADER  20
#define TCP_OPTIONS 40 /* bytes, at most */
#define TCP_END	    0
#define TCP_NOP	    1
#define TCP_MSS	    2

/* Lowers the MSS of a SYN to most, and never raises it. What cannot be read is left alone. */
__noinline int clamp_mss(struct __sk_buff *skb, const struct packet *pkt, __u32 most)
{
	__u32 size, at;
	__u8 options[TCP_OPTIONS + 4] = {};
	__be16 lower = bpf_htons(most);
	__u32 skip = 0, offered;

	if (!pkt)
		return REASON_NONE;
	size = pkt->transport_header - TCP_HEADER;
	at = pkt->transport + TCP_HEADER;
	if (pkt->transport_header <= TCP_HEADER || size > TCP_OPTIONS ||
	    bpf_skb_load_bytes(skb, at, options, size))
		return REASON_NONE;
	for (__u32 i = 0; i < TCP_OPTIONS && i < size; i++) {
		if (i < skip || options[i] == TCP_NOP)
			continue;
		if (options[i] == TCP_END || options[i + 1] < 2)
			return REASON_NONE;
		skip = i + options[i + 1];
		if (options[i] != TCP_MSS || options[i + 1] != 4)
			continue;
		offered = options[i + 2] << 8 | options[i + 3];
		if (i + 4 > size || offered <= most)
			return REASON_NONE;
		__u16 before = bpf_htons(offered), after = lower;

		/* At an odd place each byte counts as the other half of a word. */
		if (i & 1) {
			before = __builtin_bswap16(before);
			after = __builtin_bswap16(after);
		}
		if (bpf_l4_csum_replace(skb, pkt->transport + 16, before, after, 2) ||
		    bpf_skb_store_bytes(skb, at + i + 2, &lower, 2, 0))
			return REASON_TRANSLATION;
		return REASON_NONE;
	}
	return REASON_NONE;
}
