// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* MAC addresses: the gateway's, the endpoints' own, and how the latter are learned. */
#pragma once

#include "maps.h"

/* 02:65:6e:00:00:01, "en", the same for every VPC on every host. */
static __always_inline void set_gateway_mac(__u8 *mac)
{
	mac[0] = 0x02;
	mac[1] = 0x65;
	mac[2] = 0x6e;
	mac[3] = 0x00;
	mac[4] = 0x00;
	mac[5] = 0x01;
}

#define GATEWAY_MAC 0x02656e000001ULL

static __always_inline __u64 mac_of(const __u8 *mac)
{
	return (__u64)mac[0] << 40 | (__u64)mac[1] << 32 | (__u64)mac[2] << 24 |
	       (__u64)mac[3] << 16 | (__u64)mac[4] << 8 | mac[5];
}

/* The endpoint's MAC, 0 while it is not known. */
static __always_inline __u64 endpoint_mac(const struct endpoint *ep)
{
	__u64 mac = mac_of(ep->mac);
	__u32 slot = ep->slot;
	__u64 *heard;

	if (mac)
		return mac;
	heard = bpf_map_lookup_elem(&learned, &slot);
	return heard ? *heard : 0;
}

/*
 * Is it the endpoint's own? The first one that comes with the endpoint's own address is, from then
 * on, if none was configured.
 */
static __always_inline int source_mac_ok(const struct endpoint *ep, const __u8 *source, int own)
{
	__u64 mac = mac_of(source), known = endpoint_mac(ep);
	__u32 slot = ep->slot;
	__u64 *heard;

	if (known)
		return mac == known;
	if (!mac || source[0] & 1 || mac == GATEWAY_MAC)
		return 0;
	if (!own)
		return 1;
	heard = bpf_map_lookup_elem(&learned, &slot);
	if (heard)
		*heard = mac;
	return 1;
}
