package isolation

import (
	"iter"
	"net"
	"net/netip"

	"edgenet.dev/edgenet/pkg/policy"
)

// Kind says what an endpoint's device is.
type Kind uint8

// The kinds of an endpoint.
const (
	// KindNetns is a veth pair made by edgenet, one end in a namespace.
	KindNetns Kind = iota + 1
	// KindTap is a VM's tap; edgenet makes it if it is not there.
	KindTap
	// KindDevice is an existing device of the host.
	KindDevice
)

// Key names an endpoint on this host.
type Key struct {
	VNI  uint32
	Name string
}

// Endpoint is the desired state of one endpoint on this host.
type Endpoint struct {
	Key
	Kind Kind
	// Addresses are the endpoint's own, at least one; the first of each family
	// is the one that its packets mostly come from.
	Addresses []netip.Addr
	// Routed are prefixes behind the endpoint: a nested network, or an address
	// that it shares with others.
	Routed []netip.Prefix
	// Networks are the VPC's prefixes; each of Addresses is in one of them.
	Networks []Network
	// MAC is empty if it is to be given (KindNetns) or learned (the others).
	MAC net.HardwareAddr
	// Netns is the path of the namespace and Ifname the interface to make in it.
	Netns, Ifname string
	// Device is the host's device (KindTap, KindDevice).
	Device string
	// MTU of the endpoint's interface in bytes (KindNetns, KindTap).
	MTU int
	// Superseded cuts the endpoint off: it answers for nothing, and nothing
	// passes. Its device stays.
	Superseded bool
	// Ingress and Egress are the policies of the groups that it carries.
	Ingress, Egress policy.ID
	// ShadowIngress and ShadowEgress are those of candidates that only count, 0
	// if there are none.
	ShadowIngress, ShadowEgress policy.ID
}

// Network is a prefix of a VPC.
type Network struct {
	Prefix netip.Prefix
	// Gateway is the VPC's own address in it, which the datapath answers for.
	Gateway netip.Addr
}

// Location says where an address is, and who it is to the rules.
type Location struct {
	// Node is the /64 of the remote node, invalid for an address of this host.
	Node netip.Prefix
	// Endpoint is the local endpoint, zero for a remote address.
	Endpoint Key
	// Identity is what rules call it.
	Identity policy.Identity
}

// Node is a remote node that can be reached.
type Node struct {
	// Prefix is its /64.
	Prefix netip.Prefix
	// Device is the name of the tunnel device that leads to it.
	Device string
	// MTU of the tunnel to it in bytes.
	MTU int
	// Assumed says that nothing is known of the MTU yet: if the datapath has one
	// already, of an earlier process, that stays in force.
	Assumed bool
	// RequestID is that of the XFRM states that packets from it come out of, by
	// whichever device packets to it go; 0 if it has none. Of packets that come out
	// of states, no others are taken for the node's.
	RequestID uint32
	// Upper says in which half of its /64 packets to it are.
	Upper bool
	// Dead says that nothing sent there arrives: senders are told so at once.
	Dead bool
}

// State is all that the datapath of this host shall be.
type State struct {
	// Tunnels are the devices on which the overlay's packets arrive. One of them may
	// be an xfrm interface.
	Tunnels []string
	// Prefix is this node's own /64.
	Prefix netip.Prefix
	Nodes  map[netip.Prefix]Node
	// VPCs has the VPCs of this host's endpoints, by VNI.
	VPCs map[uint32]*VPC
}

// VPC is all that the datapath of this host shall know of one VPC. It is not to
// be changed once it was handed over: where a VPC stays at its place, nothing of
// it is compared.
type VPC struct {
	// Endpoints are those of this host, by name.
	Endpoints map[string]Endpoint
	Addresses map[netip.Addr]Location
	// Routes are for addresses that are not in Addresses; the longest prefix wins.
	Routes map[netip.Prefix]Location
	// Policies are the verdict tables that Endpoints refer to.
	Policies map[policy.ID]*policy.Table
	// Since, if it is the VPC that was handed over before this one, has only
	// Changed looked at of Addresses: the keys of all entries that differ. The two
	// may share one map, changed in between. Nil is always right.
	Since   *VPC
	Changed []netip.Addr
}

// Endpoint finds an endpoint of this host.
func (s *State) Endpoint(key Key) (Endpoint, bool) {
	v := s.VPCs[key.VNI]
	if v == nil {
		return Endpoint{}, false
	}
	e, ok := v.Endpoints[key.Name]
	e.Key = key
	return e, ok
}

// Keys are the names of all endpoints, in no order.
func (s *State) Keys() iter.Seq[Key] {
	return func(yield func(Key) bool) {
		for vni, v := range s.VPCs {
			for name := range v.Endpoints {
				if !yield(Key{VNI: vni, Name: name}) {
					return
				}
			}
		}
	}
}

// Counters count the packets of one endpoint, as the endpoint sees them.
type Counters struct {
	RxPackets, RxBytes uint64
	TxPackets, TxBytes uint64
	// Flows are the new ones, both ways.
	Flows uint64
	// ShadowAllows and ShadowDrops are flows that the candidate rules judge
	// otherwise than those in force: they would let them pass, or drop them. A
	// flow that is dropped counts with each packet that tries to begin it.
	ShadowAllows, ShadowDrops uint64
	// Drops has the dropped packets by reason; reasons with none are left out.
	Drops map[string]uint64
}

// Status is what is true of an endpoint in the kernel.
type Status struct {
	// Device is the host's device.
	Device string
	// MAC is the address in use, empty while it is still to be learned.
	MAC net.HardwareAddr
	// Counters since the endpoint was attached.
	Counters Counters
}
