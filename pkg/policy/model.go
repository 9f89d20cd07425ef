package policy

import "net/netip"

// Direction is seen from the endpoint that carries the group.
type Direction uint8

// The two directions of a rule.
const (
	Ingress Direction = iota + 1
	Egress
)

// Protocol is what a rule matches.
type Protocol uint8

// The protocols of a rule. ProtocolAny matches every IP protocol.
const (
	ProtocolAny Protocol = iota
	ProtocolTCP
	ProtocolUDP
	ProtocolICMP
)

// PortRange is a range of destination ports, both ends included.
type PortRange struct {
	First, Last uint16
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
	// Group is the name of a group of the same VPC for PeerGroup.
	Group string
}

// Rule permits what it matches. Rules are comparable by their ID only.
type Rule struct {
	Direction Direction
	Protocol  Protocol
	// Ports is sorted and merged; none means every port. Only for TCP and UDP.
	Ports []PortRange
	Peer  Peer
}

// Group is a named set of rules of one VPC.
type Group struct {
	Name  string
	Rules []Rule
}
