package isolation

import (
	"fmt"

	"edgenet.dev/edgenet/pkg/policy"
)

// plan is what the tables shall say, with the pairs not filled in yet.
type plan struct {
	endpoints map[uint32]edgenetEndpoint // of pairs, slot 0 has the wanted one
	addresses map[edgenetAddressKey]edgenetAddress
	nodes     map[uint64]edgenetNode
}

// fill makes the tables equal to the state. Nothing that rules consist of is in
// force before all of it is written.
func (d *Datapath) fill(want *flatState, links linkTable, wires map[Key]wired, failed *ApplyError) {
	t := d.tables
	// Packets ask the tables in force until the generation is increased, and those
	// under way for a little longer: they go with the next round.
	inForce := t.inForce()
	failed.other(t.verdicts.retain(func(id policy.ID) bool { return want.Policies[id] != nil || inForce[id] }))
	usable := d.fillPolicies(want, failed)
	p := plan{
		endpoints: d.planEndpoints(want, wires, usable, failed),
		nodes:     d.planNodes(want, links, failed),
	}
	p.addresses = planAddresses(want, p.endpoints)
	for prefix, n := range p.nodes {
		failed.other(t.nodes.put(prefix, n))
	}
	failed.other(d.dropStale(&p))
	if d.writePairs(&p, failed) {
		t.flip()
	}
}

// inForce are the policies by which packets are judged now, also those that
// another process put in force.
func (t *tables) inForce() map[policy.ID]bool {
	active := t.active()
	ids := make(map[policy.ID]bool)
	for _, e := range t.endpoints.have {
		ids[policy.ID(e.Rules[active].Ingress)], ids[policy.ID(e.Rules[active].Egress)] = true, true
	}
	return ids
}

// fillPolicies writes the verdict tables, and says which are whole.
func (d *Datapath) fillPolicies(want *flatState, failed *ApplyError) map[policy.ID]bool {
	usable := make(map[policy.ID]bool, len(want.Policies))
	for id, table := range want.Policies {
		if table == nil || id == 0 {
			continue
		}
		if err := d.tables.verdicts.put(id, table); err != nil {
			failed.other(err)
			continue
		}
		usable[id] = true
	}
	return usable
}

// planEndpoints says what the datapath shall know of the endpoints that have
// devices. Ids and places are kept, unless the address is another.
func (d *Datapath) planEndpoints(want *flatState, wires map[Key]wired, usable map[policy.ID]bool, failed *ApplyError) map[uint32]edgenetEndpoint {
	known := make(map[Key]edgenetEndpoint, len(d.tables.endpoints.have))
	for _, e := range d.tables.endpoints.have {
		known[keyOf(&e)] = e
	}
	planned := make(map[uint32]edgenetEndpoint, len(wires))
	for _, key := range sortedKeys(wires) {
		e, w := want.Endpoints[key], wires[key]
		old, ok := known[key]
		next := kernelEndpoint(key, &e, w)
		if ok && old.Address4 == next.Address4 {
			next.Id, next.Slot = old.Id, old.Slot
		} else if err := d.place(&next, old, ok); err != nil {
			failed.endpoint(key, err)
			continue
		}
		var err error
		if next.Rules[0].Ingress, err = chosen(e.Ingress, usable); err != nil {
			failed.endpoint(key, err)
		}
		if next.Rules[0].Egress, err = chosen(e.Egress, usable); err != nil {
			failed.endpoint(key, err)
		}
		next.Rules[0].Identity4 = uint64(want.Addresses[Address{VNI: key.VNI, Addr: e.first4()}].Identity)
		planned[w.ifindex] = next
	}
	d.keepUnwired(want, planned)
	return planned
}

// chosen is the policy if it can be used, else the one that drops everything.
func chosen(id policy.ID, usable map[policy.ID]bool) (uint64, error) {
	if id != 0 && !usable[id] {
		return 0, fmt.Errorf("policy %016x is not there: everything is dropped", uint64(id))
	}
	return uint64(id), nil
}

// place gives an endpoint an id that no flow is kept under, and counters of its
// own.
func (d *Datapath) place(next *edgenetEndpoint, old edgenetEndpoint, reuse bool) (err error) {
	if reuse {
		next.Slot = old.Slot
	} else {
		next.Slot, err = d.tables.freeSlot()
	}
	if err != nil {
		return err
	}
	next.Id = d.tables.newID()
	// The place is taken from now on; nothing passes before the pairs are filled.
	return d.tables.endpoints.put(next.Ifindex, *next)
}

// keepUnwired keeps the endpoints that could not be checked this time but whose
// devices are there as they were: running traffic is not cut for that.
func (d *Datapath) keepUnwired(want *flatState, planned map[uint32]edgenetEndpoint) {
	present := make(map[Key]bool, len(planned))
	for _, e := range planned {
		present[keyOf(&e)] = true
	}
	active := d.tables.active()
	for ifindex, e := range d.tables.endpoints.have {
		key := keyOf(&e)
		if _, ok := want.Endpoints[key]; !ok || present[key] {
			continue
		}
		if _, ok := planned[ifindex]; ok {
			continue
		}
		e.Rules[0] = e.Rules[active]
		planned[ifindex] = e
	}
}

func kernelEndpoint(key Key, e *Endpoint, w wired) edgenetEndpoint {
	next := edgenetEndpoint{
		Ifindex: w.ifindex, Vni: key.VNI, Delivery: w.delivery,
	}
	next.Address4.Bytes = e.first4().As16()
	if gateway := e.gateway(e.first4()); gateway.IsValid() {
		next.Gateway4.Bytes = gateway.As16()
	}
	copy(next.Mac[:], w.mac)
	copy(next.Name[:maxName], key.Name)
	if e.Superseded {
		next.Flags = edgenetEndpointFlagENDPOINT_SUPERSEDED
	}
	return next
}

// planNodes says which devices lead to which nodes.
func (d *Datapath) planNodes(want *flatState, links linkTable, failed *ApplyError) map[uint64]edgenetNode {
	planned := make(map[uint64]edgenetNode, len(want.Nodes))
	for prefix, n := range want.Nodes {
		link := links.byName[n.Device]
		if link == nil {
			failed.other(fmt.Errorf("tunnel device %s to %v does not exist", n.Device, prefix))
			continue
		}
		planned[prefixWord(n.Prefix)] = edgenetNode{Ifindex: uint32(link.Attrs().Index), Mtu: uint32(n.MTU)}
	}
	return planned
}

// planAddresses says where the VPCs' addresses are. One of an endpoint without
// a device is nowhere.
func planAddresses(want *flatState, endpoints map[uint32]edgenetEndpoint) map[edgenetAddressKey]edgenetAddress {
	devices := make(map[Key]uint32, len(endpoints))
	for ifindex, e := range endpoints {
		devices[keyOf(&e)] = ifindex
	}
	planned := make(map[edgenetAddressKey]edgenetAddress, len(want.Addresses))
	for address, location := range want.Addresses {
		where := edgenetPlace{Identity: uint64(location.Identity)}
		if location.Node.IsValid() {
			where.Node = prefixWord(location.Node)
		} else if where.Ifindex = devices[location.Endpoint]; where.Ifindex == 0 {
			continue
		}
		key := edgenetAddressKey{Vni: address.VNI}
		key.Address.Bytes = address.Addr.As16()
		value := edgenetAddress{Vni: address.VNI, Places: [2]edgenetPlace{where}}
		value.Address.Bytes = key.Address.Bytes
		planned[key] = value
	}
	return planned
}
