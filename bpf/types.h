// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* What the datapath shares with pkg/isolation. bpf2go makes the Go types from these. */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>

/* A datapath of another format does not understand these maps and refuses them. */
#define FORMAT 6

/* The second half of an overlay address begins with what it belongs to. */
enum kind {
	KIND_NODE = 0,
	KIND_TENANT4 = 1, /* IPv4, its header replaced by the overlay's */
	KIND_TENANT6 = 2, /* IPv6 under its own header, by tokens in place of addresses */
	KIND_WHOLE6 = 3, /* IPv6, whole inside the overlay's */
	KIND_OPTIONS4 = 0x10, /* and words of IPv4 options: what KIND_TENANT4 cannot carry */
};

/* How packets get into an endpoint. */
enum delivery {
	DELIVER_PEER = 1, /* a veth: straight into the namespace of its peer */
	DELIVER_DEVICE = 2, /* a tap or a device: out of it */
};

enum endpoint_flag {
	ENDPOINT_SUPERSEDED = 1, /* answers for nothing, and nothing passes */
	ENDPOINT_LEAVING = 2, /* as good as gone: its memory will be another's */
};

/*
 * Why a packet was dropped. The names that people see are these, in lower case with dashes,
 * without the prefix. Append only: counters are kept by number across upgrades.
 */
enum reason {
	REASON_NONE,
	REASON_UNKNOWN_ENDPOINT, /* a device that is attached, but not to anything known */
	REASON_SUPERSEDED, /* the endpoint's address is attached elsewhere */
	REASON_MALFORMED, /* lengths, versions or checksums that contradict one another */
	REASON_UNSUPPORTED_PROTOCOL, /* neither ARP nor IP */
	REASON_SPOOFED_MAC, /* the source MAC is not the endpoint's */
	REASON_SPOOFED_SOURCE, /* the source address is not the endpoint's */
	REASON_NOT_GATEWAY, /* the destination MAC is not the gateway's */
	REASON_MULTICAST, /* multicast, broadcast and reserved destinations */
	REASON_IP_OPTIONS, /* on a packet that stands for many, to another node */
	REASON_FRAGMENT_SHORT, /* a first one without the whole transport header */
	REASON_NO_EGRESS_RULE, /* no rule of the sender permits it */
	REASON_NO_INGRESS_RULE, /* no rule of the receiver permits it */
	REASON_NO_FLOW, /* an answer to nothing */
	REASON_NO_ROUTE, /* the VPC has no such address */
	REASON_NO_TUNNEL, /* no tunnel leads to the node that has the address */
	REASON_PACKET_TOO_BIG,
	REASON_TRANSLATION, /* the kernel refused to rewrite the packet */
	REASON_UNKNOWN_MAC, /* the endpoint's MAC has not been learned yet */
	REASON_NOT_OWNER, /* the node that sent it does not own its source address */
	REASON_FOREIGN_DESTINATION, /* came through a tunnel, but is not for this node */
	REASON_HOST_SERVICE, /* peers may ping this host and nothing else */
	REASON_FLOW_BUDGET, /* the endpoint has as many flows as it may */
	REASON_BAD_SEQUENCE, /* TCP far outside of what its connection is at */
	REASON_FRAGMENT_ALONE, /* a later one whose first was not seen */
	REASON_FRAGMENT_OVERLAP, /* a later one that would rewrite the transport header */
	REASON_EXTENSION_HEADERS, /* a chain that is too long, or out of order, or cut off */
	REASON_SOURCE_ROUTING, /* the sender would choose the way */
	REASON_OVERLAY_ADDRESS, /* a tenant's packet with an address of the mesh's own */
	REASON_NEIGHBOR_DISCOVERY, /* of a router, or from another link */
	REASON_GATEWAY, /* to the gateway, which answers a ping and nothing else */
	REASON_TTL_EXPIRED,
	REASON_NODE_DEAD, /* the node that has the address does not answer any more */
	REASON_MAX,
};

/* Room for reasons to come, so that more of them are not another format. */
#define REASONS 60

enum direction {
	EGRESS, /* out of the endpoint */
	INGRESS,
};

/*
 * What a flow is doing. The names that people see are these, in lower case with dashes, without the
 * prefix. Each has a time after which a flow that is silent is forgotten.
 */
enum flow_state {
	FLOW_NONE,
	FLOW_TCP_SYN_SENT,
	FLOW_TCP_SYN_RECV, /* answered, not confirmed */
	FLOW_TCP_ESTABLISHED,
	FLOW_TCP_FIN_WAIT, /* one side has ended */
	FLOW_TCP_CLOSE_WAIT, /* and the other has confirmed it, but goes on */
	FLOW_TCP_LAST_ACK, /* and has ended, too */
	FLOW_TCP_CLOSING, /* both have ended, the first is not confirmed */
	FLOW_TCP_TIME_WAIT, /* both ends are confirmed */
	FLOW_TCP_CLOSED, /* one side has reset it */
	FLOW_UDP_UNREPLIED,
	FLOW_UDP_REPLIED,
	FLOW_UDP_STREAM, /* replied for more than a moment */
	FLOW_SCTP_UNREPLIED,
	FLOW_SCTP_REPLIED,
	FLOW_ICMP, /* echo of both families */
	FLOW_OTHER_UNREPLIED,
	FLOW_OTHER_REPLIED,
	FLOW_STATES,
};

/* What somebody may watch. */
enum event_kind {
	EVENT_NONE,
	EVENT_DROP,
	EVENT_FLOW, /* a new one */
	EVENT_SHADOW, /* the candidate rules judge a flow otherwise */
	EVENT_ANNOUNCEMENT, /* an endpoint says that it has an address */
	EVENT_MAX,
};

/* The one entry of edgenet_state. */
struct state {
	__u32 format; /* always first, in every format */
	__u32 watched; /* a bit for each enum event_kind that has a watcher */
	__u64 generation; /* its low bit says which slot of a pair is in force */
	__u64 next_id; /* the id of the next endpoint; ids are never used twice */
	__u64 heartbeat; /* ns, monotonic: when somebody last swept the flows */
	__u32 flow_room; /* flows of all endpoints up to which anyone may have more than its share */
	__u32 flow_share; /* flows that each endpoint may have in any case */
	__u32 trace_mark; /* of packets that are made to see what would become of them; 0 is none */
	__u32 xfrm_ifindex; /* of the tunnel whose packets come out of SAs, or 0 */
	__be32 half; /* of the /64, what this node's own packets have: 0 or UPPER */
	__u32 reserved;
	__u64 timeouts[32]; /* ns, by enum flow_state */
};

/* An IPv6 address, or an IPv4 address as IPv6 maps it: ::ffff:a.b.c.d. */
union ip {
	__u8 bytes[16];
	__be32 words[4];
	__u64 halves[2];
};

/* What rules say of an endpoint. Policies are named by number; 0 is none. */
struct rules {
	__u64 ingress;
	__u64 egress;
	__u64 shadow_ingress; /* of the candidate that only counts */
	__u64 shadow_egress;
	__u64 identity4; /* of its first IPv4 address */
	__u64 identity6;
};

/*
 * An endpoint of this host, by the ifindex of the host's device. A value is changed in place, under
 * the lock, in the slot that is not in force: who reads what is in force needs no lock.
 */
struct endpoint {
	struct bpf_spin_lock lock;
	__u32 ifindex; /* its own key: memory that was given to another is noticed */
	__u32 id; /* what its flows are kept under */
	__u32 slot; /* its place in the arrays */
	__u32 vni;
	enum delivery delivery;
	enum endpoint_flag flags;
	__u8 mac[6]; /* all zero: to be learned */
	__u8 reserved[6];
	union ip address4; /* its first of each family, or all zero */
	union ip address6;
	union ip gateway4; /* of the prefix that the first is in, or all zero */
	union ip gateway6;
	struct rules rules[2]; /* a pair of slots */
	__u8 name[128]; /* for adoption by the next process, not for packets */
};

struct address_key {
	__u32 vni;
	__u32 reserved;
	union ip address;
};

enum place_flag {
	PLACE_GATEWAY = 1, /* the VPC's gateway, which the datapath itself is */
};

/* Where an address is, and who it is to the rules. All zero is nowhere. */
struct place {
	__u64 node; /* the /64 of the remote node as it stands in a packet, or 0 */
	__u64 identity;
	__u32 ifindex; /* of the local endpoint, or 0 */
	__be32 token; /* its short name on the overlay (IPv6), or 0 */
	enum place_flag flags;
	__u32 reserved;
};

/* What is known of an address of a VPC. Changed in place, like an endpoint. */
struct address {
	struct bpf_spin_lock lock;
	__u32 vni; /* its own key, checked after the rest was read */
	union ip address;
	struct place places[2]; /* a pair of slots */
};

/* A prefix of a VPC, for addresses that are not known by themselves. */
struct route_key {
	__u32 length; /* bits of what follows that count: 32 and those of the prefix */
	__be32 vni;
	union ip prefix;
};

/* Like struct address; the kernel exchanges these whole, and readers see the old or the new. */
struct route {
	struct place places[2]; /* a pair of slots */
};

/* Who an IPv6 address is that stands in the overlay by its token. */
struct token_key {
	__u64 node; /* the /64 of the node that has it, as it stands in a packet */
	__u32 vni;
	__be32 token;
};

/* A remote node, by its /64 as it stands in a packet. */
struct node {
	__u32 ifindex; /* of the tunnel */
	__u32 mtu; /* of the tunnel, bytes; 0 if the node is dead */
	__u32 reqid; /* of the SAs that its packets come out of, or 0: it has none */
	__be32 half; /* of its /64, what packets to it have: 0 or UPPER */
};

/*
 * Every identity of the same family that the policy has no row, or an empty one, of: the low bit of
 * an identity tells IPv6 from IPv4. No address has it.
 */
#define REST(identity) ((identity) & 1)

/*
 * The cells of the verdicts of one policy. Those of a policy are next to one another, so that as few
 * pages as possible are asked for. It is changed by one write of 64 bits: who has read it keeps a
 * region with the same in it.
 */
struct region {
	__u32 first;
	__u32 homes; /* cells in which rows are looked for first; some more are behind them */
};

/* Where a policy has its region. Changed in place, like an endpoint. */
struct policy {
	struct bpf_spin_lock lock;
	__u32 reserved;
	__u64 id; /* its own key */
	__u32 heads[2]; /* a pair of slots: the cell with the region, or 0 */
};

/*
 * Sorted, disjoint intervals in lines. The first few are what a verdict's limits lead to: leaves, or
 * forks that are so high above them.
 */
struct span {
	__u32 line;
	__u16 lines; /* 0 for no interval at all */
	__u16 height;
};

/* A port beyond so many limits is in the line behind so many. Those not needed are 65,535. */
#define VERDICT_LIMITS 8
#define FORK_LIMITS    28

enum verdict_state {
	VERDICT_NONE, /* nor is there any behind it */
	VERDICT_IS,
	VERDICT_WAS, /* not any more, but there may be others behind it */
};

/*
 * What a policy says of an identity: a cell of the policy's region. It is in the one that home()
 * says, or in one of the next; none is behind one that has never been used, as a region's last cell
 * is. Its key is changed only while nobody can ask for it, its spans like an endpoint.
 */
struct verdict {
	__u64 identity;
	__u32 protocol;
	enum verdict_state state;
	struct span spans[2]; /* a pair of slots */
	__u16 limits[2][VERDICT_LIMITS]; /* which of a span's first lines a port is in; likewise */
};

/* A verdict, or at the head of a policy, its region. */
union cell {
	struct verdict verdict;
	struct region region;
};

/* How many cells are looked at. Regions are half empty: few rows are farther from home than 2. */
#define MOST_PROBES 128

#define RULE_DENIES 0x80000000U

/* Whose a rule's number is; names are hashed. For the next process, not for packets. */
struct rule_name {
	__u32 vni;
	__u32 reserved;
	__u64 group;
	__u64 id;
};

struct interval {
	__u16 first;
	__u16 last;
	__u32 rule; /* number of the rule that decides, and RULE_DENIES */
};

/* Where to go on with a port. */
struct fork {
	__u16 limits[FORK_LIMITS];
	__u32 child; /* lines from the span's first to the first child */
	__u32 reserved;
};

/* What a cache line of 64 bytes holds, and one map look-up finds. */
#define LINE_INTERVALS 8

/* Intervals, or a fork. Where there is no interval, first is above last. */
union line {
	struct interval intervals[LINE_INTERVALS];
	struct fork fork;
};

/* Forks above a leaf that are enough for as many intervals as there are ports. */
#define MOST_FORKS 3

/* A flow as one endpoint sees it. Ports in host order. */
struct flow_key {
	union ip local;
	union ip remote;
	__u32 endpoint;
	__u16 local_port;
	__u16 remote_port;
	__u8 protocol;
	__u8 reserved[7];
};

enum tcp_side_flag {
	SIDE_SEEN = 1, /* next is known */
	SIDE_REACH = 2, /* reach is known */
	SIDE_FIN = 4, /* it has ended */
	SIDE_FIN_ACKED = 8, /* and the other has confirmed that */
};

/* How far one side of a TCP connection is. Sequence numbers in host order. */
struct tcp_side {
	__u32 next; /* after the last byte that it has sent */
	__u32 reach; /* how far the other side has made room for it */
	__u32 window; /* the largest that it has announced, bytes */
	__u8 scale; /* of the windows that it announces */
	__u8 flags; /* enum tcp_side_flag */
	__u16 reserved;
};

struct flow {
	__u64 generation; /* of the policies that last permitted it */
	__u64 seen; /* ns, monotonic */
	__u64 began;
	__u64 place; /* of the other side in that generation, veiled; or 0 */
	__u32 rule; /* that let it begin */
	__u32 reopening; /* sequence number of a SYN within the running connection, or 0 */
	struct tcp_side sides[2]; /* by enum direction */
	__u8 origin; /* enum direction */
	__u8 state; /* enum flow_state */
	__u8 reserved[6];
};

/*
 * Where the first fragment of a packet is remembered: each endpoint has so many places, and whoever
 * sends many takes them from itself.
 */
#define FRAGMENT_PLACES 128

struct fragment_place {
	__u32 endpoint;
	__u32 number; /* by a hash of what the fragments have in common */
};

/* What only the first fragment says, and by what later ones are known. */
struct fragment {
	union ip source;
	union ip destination;
	__u64 seen; /* ns, monotonic */
	__u32 identification;
	__u16 source_port;
	__u16 destination_port;
	__u16 header; /* bytes that later fragments must leave alone */
	__u8 known_by; /* the protocol, of IPv4; IPv6 tells packets apart without it */
	__u8 protocol;
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 reserved[2];
};

/* How many of the last flows of each endpoint are remembered, to be replaced if unanswered. */
#define RECENT 32

/* What an endpoint sent (tx) and was given (rx), as one CPU saw it. */
struct account {
	__u64 rx_packets;
	__u64 rx_bytes;
	__u64 tx_packets;
	__u64 tx_bytes;
	__u64 flows; /* new ones */
	__u64 shadow_allows; /* what candidate rules would let pass and those in force do not */
	__u64 shadow_drops; /* what candidate rules would drop and those in force do not */
};

/* What an endpoint lost, by enum reason. Shared by all CPUs: memory is for what passes. */
struct dropped {
	__u64 packets[REASONS];
};

/* A rule by its number, and what candidates said otherwise. */
struct rule {
	struct rule_name name; /* whose number it is, or was */
	__u64 flows; /* what its hits were when it was given the number */
	__u64 shadow_allows; /* it is of the candidate and allows, or in force and denies */
	__u64 shadow_drops; /* it is of the candidate and denies, or in force and allows */
};

/*
 * How often each of so many rules decided about a new flow, as one CPU saw it: whoever counts waits
 * for no other CPU. The kernel finds a few large pages in less memory than many small numbers.
 */
#define HITS_IN_PAGE 512

struct hit_page {
	__u64 flows[HITS_IN_PAGE];
};

/* How many flows an endpoint has; in slot 0, all of them. */
struct budget {
	__u32 flows;
	__u32 next; /* place in its ring of the last flows that is written next */
};

/* What one CPU has sent of one kind of event. */
struct event_limit {
	__u64 window; /* a number of time */
	__u64 sent; /* in it */
	__u64 left_out; /* ever */
};

/* How often an endpoint has announced addresses. */
struct announced {
	__u64 window; /* a number of time */
	__u32 times; /* in it */
	__u32 reserved;
};

/* The beginning of a packet that was dropped: Ethernet, the longest header, four ports. */
#define CAPTURED 120

struct event {
	__u64 time; /* ns, monotonic */
	__u32 slot; /* of the endpoint, or 0 */
	__u32 vni;
	__u32 rule; /* the one in force that decided, and RULE_DENIES */
	__u32 shadow_rule; /* the candidate's */
	__u32 length; /* bytes, link header included */
	enum event_kind kind;
	__u8 reason; /* enum reason */
	__u8 direction; /* enum direction */
	__u8 protocol;
	__u8 reserved[5];
	union ip source;
	union ip destination;
	__u16 source_port; /* host order */
	__u16 destination_port;
	__u32 captured; /* bytes of packet, of drops */
	__u8 packet[CAPTURED];
};

/* By what an endpoint let a made packet pass, or not. */
enum trace_by {
	TRACE_NOT_ASKED,
	TRACE_RULES,
	TRACE_FLOW, /* it belongs to a flow that is known */
	TRACE_RELATED, /* it is an ICMP error about one */
};

/* What one endpoint says of a made packet. */
struct trace_side {
	__u64 policy;
	__u64 identity; /* of the other side */
	__u32 endpoint; /* id */
	enum trace_by by;
	__u32 rule; /* and RULE_DENIES */
	__u32 shadow_rule;
	__u32 port; /* that the rules were asked about */
	__u32 protocol; /* likewise */
	enum direction origin; /* in which the flow began */
	enum flow_state state; /* of the flow */
};

/* What became of a made packet. */
struct trace {
	__u64 generation;
	__u64 node; /* the /64 of the node that it would go to, or 0 */
	__u32 ifindex; /* of the endpoint that it would go to, or 0 */
	__u32 verdict; /* what the program would have returned */
	__u32 reason; /* enum reason */
	__u32 slot; /* of the endpoint whose drop it would be */
	__u32 gateway; /* 1 if the gateway would answer it */
	__u32 reserved;
	struct trace_side sides[2]; /* by enum direction */
};
