// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * A sender may leave a checksum to whoever puts the packet on a wire, and says where in the packet it
 * belongs. Guests and packet sockets say that freely, and the kernel believes them: it writes the
 * checksum there after the rules were asked, over a port or an address if that is what they said,
 * and its value is the sender's choice.
 */
#pragma once

#include "flow.h"
#include "parse.h"

#include <bpf/bpf_core_read.h>

#define CHECKSUM_PARTIAL 3 /* what the kernel calls a checksum that is yet to be written */

/* What the kernel keeps of it (linux/skbuff.h). No field of a program's context tells. */
struct sk_buff {
	unsigned char *head;
	unsigned char *data;
	__u16 csum_start; /* from head: what is summed up begins here */
	__u16 csum_offset; /* from there: where the sum is written */
	__u8 ip_summed : 2;
} __attribute__((preserve_access_index));

/* Cleared for kernels that do not let programs see it. */
const volatile __u32 sees_checksums = 1;

/* Since 6.2: fields are read as they are. */
extern void *bpf_cast_to_kern_ctx(void *context) __ksym __weak;

/* Where a checksum is yet to be written, as offsets in the skb. */
struct unfinished {
	__s32 start; /* of what is summed up */
	__s32 place;
};

/*
 * Is there one? Before 6.2 the context is the kernel's own by address only, and reading costs a call
 * each; in all of those kernels csum_offset follows csum_start, and data head.
 */
static __always_inline int find_unfinished(struct __sk_buff *skb, struct unfinished *u)
{
	struct sk_buff *kernel = (void *)skb;
	unsigned char *ends[2];
	__u16 checksum[2];

	if (bpf_cast_to_kern_ctx) {
		kernel = bpf_cast_to_kern_ctx(skb);
		if (BPF_CORE_READ_BITFIELD(kernel, ip_summed) != CHECKSUM_PARTIAL)
			return 0;
		u->start = kernel->csum_start - (__s32)(kernel->data - kernel->head);
		u->place = u->start + kernel->csum_offset;
		return 1;
	}
	if (BPF_CORE_READ_BITFIELD_PROBED(kernel, ip_summed) != CHECKSUM_PARTIAL)
		return 0;
	/* Of nothing read, nothing is permitted. */
	u->start = u->place = -1;
	if (bpf_core_read(checksum, sizeof(checksum), &kernel->csum_start) ||
	    bpf_core_read(ends, sizeof(ends), &kernel->head))
		return 1;
	u->start = checksum[0] - (__s32)(ends[1] - ends[0]);
	u->place = u->start + checksum[1];
	return 1;
}

/* Where a transport header has its own checksum, or -1. */
static __always_inline int own_checksum(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_ICMP:
		return 2;
	case IPPROTO_SCTP:
		return 8;
	default:
		return checksum_offset(protocol);
	}
}

/*
 * Refuses a checksum that would be written over what was read here. It belongs to the transport
 * header, or to what a tunnel of the tenant's own has behind one. The packet that an ICMP error
 * quotes is read, too. What is summed up tells the rules nothing, but the kernel and tunnels in user
 * space trip over a sum that begins in a header that they have exchanged or taken away.
 */
__noinline int check_unfinished(struct __sk_buff *skb, struct packet *pkt, __u32 end)
{
	struct unfinished u;

	if (!pkt)
		return REASON_MALFORMED;
	if (!sees_checksums || !find_unfinished(skb, &u))
		return REASON_NONE;
	if (pkt->part || u.start < (__s32)pkt->transport || u.place + 2 > (__s32)end)
		return REASON_MALFORMED;
	u.place -= pkt->transport;
	if (u.place == own_checksum(pkt->protocol))
		return REASON_NONE;
	if (u.place < pkt->transport_header || is_icmp_error(pkt))
		return REASON_MALFORMED;
	/* Of one that stands for many, both are still to be written. */
	pkt->finished = !gso_size(skb);
	return REASON_NONE;
}
