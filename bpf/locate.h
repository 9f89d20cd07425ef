// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* Where an address of a VPC is, and which endpoint is behind a device. */
#pragma once

#include "maps.h"
#include "parse.h"

static __always_inline __u64 current_generation(void)
{
	__u32 zero = 0;
	struct state *state = bpf_map_lookup_elem(&edgenet_state, &zero);

	return state ? *(volatile __u64 *)&state->generation : 0;
}

/*
 * Copies where an address of a VPC is, by the slot that is in force. The key is compared last: the
 * memory of a value that was removed may already hold another's. A value is removed when it has had
 * nothing in force for longer than any packet is under way, so both mean the same.
 */
static __always_inline int locate(struct place *to, __u32 vni, const union ip *ip, __u64 generation)
{
	struct address_key key = {.vni = vni, .address = *ip};
	struct address *found = bpf_map_lookup_elem(&addresses, &key);

	if (!found)
		return -1;
	*to = found->places[generation & 1];
	barrier();
	if (*(volatile __u32 *)&found->vni != vni ||
	    *(volatile __u64 *)&found->address.halves[0] != ip->halves[0] ||
	    *(volatile __u64 *)&found->address.halves[1] != ip->halves[1])
		return -1;
	return to->ifindex || to->node || to->flags ? 0 : -1;
}

/*
 * Where an address is that is not known by itself: in the longest prefix that an endpoint has behind
 * it.
 */
static __noinline int locate_route(struct place *to, __u32 vni, const union ip *ip,
				   __u64 generation)
{
	struct route_key key = {
		.length = 8 * (sizeof(key) - sizeof(key.length)),
		.vni = bpf_htonl(vni),
		.prefix = *ip,
	};
	struct route *found = bpf_map_lookup_elem(&routes, &key);

	if (!found)
		return -1;
	*to = found->places[generation & 1];
	return to->ifindex || to->node ? 0 : -1;
}

/* Where an address of a VPC is, whether it is known by itself or by a prefix. */
static __always_inline int find(struct place *to, __u32 vni, const union ip *ip, __u64 generation)
{
	return locate(to, vni, ip, generation) ? locate_route(to, vni, ip, generation) : 0;
}

/*
 * The endpoint behind a device of this host. One is removed when it has been leaving for longer than
 * any packet is under way, and its memory first becomes another's that is leaving: who does not find
 * that, and then the key that was asked for, has the endpoint for as long as the packet takes.
 */
static __always_inline struct endpoint *endpoint_of(__u32 ifindex)
{
	struct endpoint *ep = bpf_map_lookup_elem(&endpoints, &ifindex);
	__u32 flags;

	if (!ep)
		return NULL;
	flags = *(volatile __u32 *)&ep->flags;
	barrier();
	if (flags & ENDPOINT_LEAVING || *(volatile __u32 *)&ep->ifindex != ifindex)
		return NULL;
	return ep;
}
