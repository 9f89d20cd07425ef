package isolation

import (
	"fmt"
	"net/netip"

	"edgenet.dev/edgenet/pkg/policy"
)

// filled is what the tables were last made from of a VPC.
type filled struct {
	vpc *VPC
	// devices are those that its endpoints were behind, 0 for none.
	devices map[string]uint32
	// gateways are addresses of the VPC that the datapath itself has.
	gateways map[netip.Addr]bool
}

// fill makes the tables equal to the state. Nothing of a change is in force
// before all of it is written.
func (d *Datapath) fill(want *State, links linkTable, wires map[Key]wired, failed *ApplyError) {
	t := d.tables
	failed.other(t.makeRoom())
	failed.other(d.fillNodes(want, links, failed))
	if d.filled == nil {
		d.filled = make(map[uint32]filled)
	}
	r := round{d: d, want: want, wires: wires, failed: failed, active: t.active(), whole: true, done: make(map[uint32]filled)}
	for vni := range r.gone() {
		r.leave(vni)
	}
	for vni, v := range want.VPCs {
		r.fillVPC(vni, v)
	}
	r.fillTokens()
	for id := range r.orphans() {
		t.verdicts.leaveRows(id)
		t.owing = true
	}
	r.commit()
	t.endpoints.forget(func(key Key) bool { _, ok := want.Endpoint(key); return ok })
}

// fillNodes says which devices lead to which nodes.
func (d *Datapath) fillNodes(want *State, links linkTable, failed *ApplyError) error {
	planned := d.planNodes(want, links, failed)
	for prefix, n := range planned {
		failed.other(d.tables.nodes.put(prefix, n))
	}
	return retain(d.tables.nodes, planned)
}

// round is one comparison of a state with the tables.
type round struct {
	d      *Datapath
	want   *State
	wires  map[Key]wired
	failed *ApplyError
	active int
	// flip says that packets must see all that changes at once.
	flip bool
	// whole says that all of it was written.
	whole bool
	// done are the VPCs that were looked at.
	done map[uint32]filled
}

// gone are the VPCs that are in the tables and not wanted.
func (r *round) gone() map[uint32]bool {
	t, gone := r.d.tables, make(map[uint32]bool)
	for vni := range t.addresses.have {
		gone[vni] = r.want.VPCs[vni] == nil
	}
	for vni := range t.routes.have {
		gone[vni] = r.want.VPCs[vni] == nil
	}
	for vni := range t.verdicts.tables {
		gone[vni] = r.want.VPCs[vni] == nil
	}
	for vni, is := range gone {
		if !is {
			delete(gone, vni)
		}
	}
	return gone
}

// leave takes a VPC out of the tables. Its addresses were closed before.
func (r *round) leave(vni uint32) {
	t := r.d.tables
	for key := range t.addresses.have[vni] {
		t.addresses.stage(key, edgenetPlace{}, r.active)
		t.tokens.move(key, 0)
	}
	r.fillRoutes(vni, &VPC{}, nil)
	t.releasePolicies(vni, nil)
	delete(r.d.filled, vni)
}

// orphans are policies with rows that no VPC has and no endpoint will refer to.
func (r *round) orphans() map[policy.ID]bool {
	v, orphans := r.d.tables.verdicts, make(map[policy.ID]bool)
	if !r.d.tables.loose {
		return orphans
	}
	r.d.tables.loose = false
	for id := range v.policies.have {
		orphans[id] = true
	}
	for _, tables := range v.tables {
		for id := range tables {
			delete(orphans, id)
		}
	}
	if len(orphans) == 0 {
		return orphans
	}
	e := r.d.tables.endpoints
	for ifindex, have := range e.have {
		next, staged := e.staged[ifindex]
		rules := have.Rules[r.active]
		if staged {
			rules = next.Rules[0]
		}
		for _, id := range []uint64{rules.Ingress, rules.Egress, rules.ShadowIngress, rules.ShadowEgress} {
			if orphans[policy.ID(id)] {
				r.d.tables.loose = true
				delete(orphans, policy.ID(id))
			}
		}
	}
	return orphans
}

// fillVPC compares a VPC, if it is not known to be as it was.
func (r *round) fillVPC(vni uint32, v *VPC) {
	before, known := r.d.filled[vni]
	now := filled{vpc: v, devices: r.devices(vni, v)}
	moved := !known
	for name, ifindex := range now.devices {
		old, was := before.devices[name]
		moved = moved || was && old != ifindex
	}
	if known && !moved && before.vpc == v && len(now.devices) == len(before.devices) {
		return
	}
	usable := r.fillPolicies(vni, v)
	r.fillEndpoints(vni, v, usable)
	now.gateways = gatewaysOf(v)
	var touched []netip.Addr
	if known && !moved && v.Since != nil && v.Since == before.vpc && sameKeys(before.gateways, now.gateways) {
		touched = v.Changed
	} else {
		touched = r.all(vni, v, now.gateways)
	}
	r.fillRoutes(vni, v, now.devices)
	r.fillAddresses(vni, v, &now, touched)
	r.done[vni] = now
}

// devices are those that the endpoints of a VPC are behind now.
func (r *round) devices(vni uint32, v *VPC) map[string]uint32 {
	devices := make(map[string]uint32, len(v.Endpoints))
	for name := range v.Endpoints {
		key := Key{vni, name}
		if w, ok := r.wires[key]; ok {
			devices[name] = w.ifindex
		} else {
			// It could not be checked this time, but its device is there as it was:
			// running traffic is not cut for that.
			devices[name] = r.d.tables.endpoints.byKey[key]
		}
	}
	return devices
}

func gatewaysOf(v *VPC) map[netip.Addr]bool {
	gateways := make(map[netip.Addr]bool)
	for _, e := range v.Endpoints {
		for _, n := range e.Networks {
			if n.Gateway.IsValid() {
				gateways[n.Gateway] = true
			}
		}
	}
	return gateways
}

func sameKeys[K comparable](a, b map[K]bool) bool {
	if len(a) != len(b) {
		return false
	}
	for key := range a {
		if !b[key] {
			return false
		}
	}
	return true
}

// fillPolicies stages the verdict tables, and says which are whole.
func (r *round) fillPolicies(vni uint32, v *VPC) map[policy.ID]bool {
	usable := make(map[policy.ID]bool, len(v.Policies))
	for id, table := range v.Policies {
		if table == nil || id == 0 {
			continue
		}
		if err := r.fillPolicy(vni, id, table); err != nil {
			r.whole = false
			r.failed.other(err)
			continue
		}
		usable[id] = true
	}
	r.d.tables.releasePolicies(vni, v.Policies)
	return usable
}

func (r *round) fillPolicy(vni uint32, id policy.ID, table *policy.Table) error {
	t := r.d.tables
	before := t.verdicts.tables[vni][id]
	if before.table == table {
		return nil
	}
	numbers, kept, err := t.numbers.take(vni, table.Rules, before)
	if err != nil {
		return fmt.Errorf("policy %016x: %w", uint64(id), err)
	}
	flip, err := t.verdicts.stage(vni, id, numbered{table, numbers}, r.active, r.pure)
	r.flip = r.flip || flip
	unused := before.numbers[min(kept, len(before.numbers)):]
	if err != nil {
		t.verdicts.doubt(id)
		unused = numbers[kept:]
	}
	if len(unused) > 0 {
		t.released = append(t.released, unused)
		t.owing = true
	}
	return err
}

// pure says whether nobody has asked for a row yet.
func (r *round) pure(key verdictKey) bool {
	t, id := r.d.tables, key.identity
	if !t.verdicts.rows.fresh(key) {
		return false
	}
	return t.endpoints.policies[key.policy] == 0 || id != id.Rest() && t.identities[id] == 0
}

// commit writes what was staged: into the slot that is not in force, if packets
// are to see all of it at once.
func (r *round) commit() {
	t := r.d.tables
	r.flip = r.flip || t.mustFlip || t.endpoints.changes(r.active)
	r.failed.other(t.numbers.flush())
	if !r.await() {
		return
	}
	broken := t.verdicts.commit(r.active, r.flip)
	t.owing = t.owing || len(t.verdicts.regions.left) > 0
	if len(broken) > 0 && !r.closePolicies(broken) {
		return
	}
	for ifindex, err := range t.endpoints.commit(r.active, r.flip) {
		r.whole = false
		r.failed.other(fmt.Errorf("endpoint behind device %d: %w", ifindex, err))
		r.failed.other(t.endpoints.bury(ifindex, true))
	}
	r.failed.other(t.tokens.commit())
	closePlaces(r, &t.addresses, t.addresses.commit(r.active, r.flip))
	closePlaces(r, &t.routes, t.routes.commit(r.active, r.flip))
	if r.flip {
		t.flip()
	}
	if !r.whole {
		r.d.filled = nil
		return
	}
	for vni, f := range r.done {
		r.d.filled[vni] = f
	}
}

// await returns when nothing is written over that a packet may read: none asks
// the slot that is not in force any more, and none has an endpoint whose memory is
// to be another's. What this round has closed need not be waited for. If it cannot
// be known, nothing is changed, and all is tried again by the next round.
func (r *round) await() bool {
	t := r.d.tables
	var err error
	switch {
	case t.endpoints.revives():
		t.settle()
		err = t.grace.wait()
	case r.flip:
		err = t.grace.waitFor(t.flipped)
	}
	if err == nil {
		return true
	}
	r.failed.other(err)
	r.d.filled = nil
	t.verdicts.abandon()
	clear(t.endpoints.staged)
	clear(t.addresses.staged)
	clear(t.routes.staged)
	return false
}

// closePolicies takes policies out of force that could not be written whole.
func (r *round) closePolicies(broken map[policy.ID]error) bool {
	r.whole = false
	t := r.d.tables
	if !r.flip {
		r.flip = true
		if !r.await() {
			return false
		}
		t.verdicts.commit(r.active, true)
	}
	for ifindex, e := range t.endpoints.staged {
		for _, id := range []*uint64{&e.Rules[0].Ingress, &e.Rules[0].Egress, &e.Rules[0].ShadowIngress, &e.Rules[0].ShadowEgress} {
			if err := broken[policy.ID(*id)]; err != nil {
				r.failed.endpoint(keyOf(&e), fmt.Errorf("everything is dropped: %w", err))
				*id = 0
			}
		}
		t.endpoints.staged[ifindex] = e
	}
	return true
}
