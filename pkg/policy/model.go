package policy

import "net/netip"

// Direction is seen from the endpoint that carries the group.
type Direction uint8

// The two directions of a rule.
const (
	Ingress Direction = iota + 1
	Egress
)

// Action is what a rule does with what it matches.
type Action uint8

// The actions of a rule.
const (
	Allow Action = iota
	Deny
)

// Protocol is what a rule matches.
type Protocol uint8

// The protocols of a rule. ProtocolAny matches every IP protocol, ProtocolICMP
// is that of IPv4 only, ProtocolICMPv6 that of IPv6 only.
const (
	ProtocolAny Protocol = iota
	ProtocolTCP
	ProtocolUDP
	ProtocolICMP
	ProtocolSCTP
	ProtocolICMPv6
)

// PortRange is a range of destination ports, both ends included.
type PortRange struct {
	First, Last uint16
}

// ICMP is which messages a rule for ICMP or ICMPv6 matches. The zero value is
// all of them.
type ICMP struct {
	// Type counts if HasType is true, Code if HasCode is. There is no code
	// without a type; what does not count is 0.
	Type, Code       uint8
	HasType, HasCode bool
}

// PeerKind says how a rule names the other side.
type PeerKind uint8

// The kinds of a rule's peer.
const (
	PeerAny PeerKind = iota
	PeerCIDR
	PeerGroup
)

// Peer is the other side of a rule: where ingress comes from, where egress
// goes to.
type Peer struct {
	Kind PeerKind
	// CIDR is set, and masked, for PeerCIDR.
	CIDR netip.Prefix
	// Except are parts of CIDR that are not meant: masked, sorted, and none
	// inside another. Only for PeerCIDR.
	Except []netip.Prefix
	// Group is the name of a group of the same VPC for PeerGroup.
	Group string
}

// Rule allows or denies what it matches. Of all rules that match, the one with
// the lowest priority number decides, and a deny among equals. Rules are
// comparable by their ID only.
type Rule struct {
	Direction Direction
	Action    Action
	Priority  Priority
	Protocol  Protocol
	// Ports is sorted and merged; none means every port. Only for TCP, UDP and
	// SCTP.
	Ports []PortRange
	// ICMP is for ICMP and ICMPv6 only.
	ICMP ICMP
	Peer Peer
	// Description is for people; it is no part of what the rule says, nor of its
	// ID.
	Description string
	// Disabled makes a rule count as if it were not there. It is no part of the
	// ID.
	Disabled bool
}

// Group is a named set of rules of one VPC.
type Group struct {
	Name  string
	Rules []Rule
}
