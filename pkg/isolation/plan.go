package isolation

import (
	"fmt"
	"net/netip"

	"edgenet.dev/edgenet/pkg/policy"
)

// fillEndpoints stages the endpoints of a VPC that are behind devices.
func (r *round) fillEndpoints(vni uint32, v *VPC, usable map[policy.ID]bool) {
	for name, e := range v.Endpoints {
		e.Key = Key{vni, name}
		next, ok := r.planEndpoint(&e)
		if !ok {
			continue
		}
		next.Rules[0] = r.rulesOf(&e, v, usable)
		r.d.tables.endpoints.stage(next)
	}
}

// planEndpoint says what the datapath shall know of an endpoint, its rules apart.
// It keeps id and place, unless its addresses are others. It is false for one
// that cannot be served.
func (r *round) planEndpoint(e *Endpoint) (edgenetEndpoint, bool) {
	t := r.d.tables.endpoints
	w, wired := r.wires[e.Key]
	if !wired {
		next, ok := t.have[t.byKey[e.Key]]
		next.Flags = flagsOf(e)
		return next, ok
	}
	if at, ok := t.byKey[e.Key]; ok && at != w.ifindex {
		r.d.tables.owing = true
		r.failed.endpoint(e.Key, t.bury(at, true))
	}
	next := kernelEndpoint(e, w)
	old, known := t.known[e.Key]
	if known {
		next.Slot = old.Slot
	} else {
		var err error
		if next.Slot, err = t.takePlace(); err == nil {
			err = r.d.tables.clearSlot(next.Slot)
		}
		if err != nil {
			r.failed.endpoint(e.Key, err)
			return next, false
		}
	}
	if known && sameAddresses(&old, &next) {
		next.Id = old.Id
	} else {
		next.Id = r.d.tables.newID()
	}
	t.known[e.Key] = next
	return next, true
}

func sameAddresses(a, b *edgenetEndpoint) bool {
	return a.Address4 == b.Address4 && a.Address6 == b.Address6
}

// rulesOf are the policies and identities of an endpoint. A policy that cannot be
// used is one that drops everything.
func (r *round) rulesOf(e *Endpoint, v *VPC, usable map[policy.ID]bool) edgenetRules {
	chosen := func(id policy.ID) uint64 {
		if id != 0 && !usable[id] {
			r.failed.endpoint(e.Key, fmt.Errorf("policy %016x is not there: everything is dropped", uint64(id)))
			return 0
		}
		return uint64(id)
	}
	rules := edgenetRules{
		Ingress: chosen(e.Ingress), Egress: chosen(e.Egress),
		ShadowIngress: chosen(e.ShadowIngress), ShadowEgress: chosen(e.ShadowEgress),
	}
	if first := firstOf(e.Addresses, netip.Addr.Is4); first.IsValid() {
		rules.Identity4 = uint64(v.Addresses[first].Identity)
	}
	if first := firstOf(e.Addresses, netip.Addr.Is6); first.IsValid() {
		rules.Identity6 = uint64(v.Addresses[first].Identity)
	}
	return rules
}

// firstOf is the first address of a family; it is not valid if there is none.
func firstOf(addresses []netip.Addr, family func(netip.Addr) bool) netip.Addr {
	for _, a := range addresses {
		if family(a) {
			return a
		}
	}
	return netip.Addr{}
}

func kernelEndpoint(e *Endpoint, w wired) edgenetEndpoint {
	next := edgenetEndpoint{Ifindex: w.ifindex, Vni: e.VNI, Delivery: w.delivery, Flags: flagsOf(e)}
	setAddresses(&next, e)
	copy(next.Mac[:], w.mac)
	copy(next.Name[:maxName], e.Name)
	return next
}

// setAddresses sets the first address of each family, and the gateway of each.
func setAddresses(next *edgenetEndpoint, e *Endpoint) {
	set := func(address, gateway *edgenetIp, first netip.Addr) {
		if !first.IsValid() {
			return
		}
		address.Bytes = first.As16()
		if of := e.gateway(first); of.IsValid() {
			gateway.Bytes = of.As16()
		}
	}
	set(&next.Address4, &next.Gateway4, firstOf(e.Addresses, netip.Addr.Is4))
	set(&next.Address6, &next.Gateway6, firstOf(e.Addresses, netip.Addr.Is6))
}

func flagsOf(e *Endpoint) edgenetEndpointFlag {
	if e.Superseded {
		return edgenetEndpointFlagENDPOINT_SUPERSEDED
	}
	return 0
}

// planNodes says which devices lead to which nodes.
func (d *Datapath) planNodes(want *State, links linkTable, failed *ApplyError) map[uint64]edgenetNode {
	planned := make(map[uint64]edgenetNode, len(want.Nodes))
	for prefix, n := range want.Nodes {
		link := links.byName[n.Device]
		if link == nil {
			failed.other(fmt.Errorf("tunnel device %s to %v does not exist", n.Device, prefix))
			continue
		}
		next := edgenetNode{Ifindex: uint32(link.Attrs().Index), Mtu: uint32(n.MTU), Reqid: n.RequestID, Half: halfWord(n.Upper)}
		if before, ok := d.tables.nodes.have[prefixWord(prefix)]; ok && n.Assumed && before.Ifindex == next.Ifindex && before.Mtu != 0 {
			next.Mtu = min(before.Mtu, uint32(link.Attrs().MTU))
		}
		if n.Dead {
			next.Mtu = 0
		}
		planned[prefixWord(prefix)] = next
	}
	return planned
}
