package daemon

import (
	"maps"
	"slices"
	"time"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
)

// granted are the grants of the mesh as they count at a moment. What it was made
// from is looked at again when that has changed, or when time has brought one of the
// moments at which something begins or ends.
type granted struct {
	settings decoded[*records.Settings]
	grants   decoded[*grant]

	// required is true while endpoints need a grant; byVNI has those that there are.
	required bool
	byVNI    map[uint32]*vpcGrants
	// Nothing but a record changes anything from the moment since on, until until;
	// zero is for ever.
	since, until time.Time
}

// of are the grants that count for a VPC; nil if none are needed.
func (g *granted) of(vni uint32) *vpcGrants {
	switch v := g.byVNI[vni]; {
	case !g.required:
		return nil
	case v == nil:
		return noGrants
	default:
		return v
	}
}

// update follows the records and the time. It returns whose grants are not as they
// were, or that all endpoints are to be looked at.
func (g *granted) update(from source) (changed map[uint32][]holder, everywhere bool) {
	at, was := from.Time(), g.required
	g.settings.update(from.List(mesh.KindSettings), records.DecodeSettings)
	asked := &records.Settings{}
	for _, one := range g.settings.list { // There is one at most.
		if one.err == nil {
			asked = one.value
		}
	}
	g.required = asked.GetRequireGrants() && !at.Before(asked.RequiredFrom())
	if !g.required {
		g.byVNI, g.grants = nil, decoded[*grant]{}
		g.since, g.until = time.Time{}, time.Time{}
		if asked.GetRequireGrants() {
			g.until = asked.RequiredFrom()
		}
		return nil, was
	}
	before, now := g.grants.update(from.List(mesh.KindGrant), decodeGrant)
	touched := map[uint32]map[holder]bool{}
	touch := func(one *grant) {
		if touched[one.vni] == nil {
			touched[one.vni] = map[holder]bool{}
		}
		touched[one.vni][one.holder] = true
	}
	for _, one := range slices.Concat(before, now) {
		touch(one)
		g.bound(one.expires, at)
	}
	if !was || at.Before(g.since) || !g.until.IsZero() && !at.Before(g.until) {
		g.pass(at, asked.RequiredFrom(), touch)
	}
	if len(touched) > 0 {
		g.renew(at, touched, now)
	}
	changed = make(map[uint32][]holder, len(touched))
	for vni, holders := range touched {
		changed[vni] = slices.Collect(maps.Keys(holders))
	}
	return changed, !was
}

// bound notes a moment at which something changes.
func (g *granted) bound(moment, at time.Time) {
	switch {
	case moment.IsZero():
	case at.Before(moment):
		if g.until.IsZero() || moment.Before(g.until) {
			g.until = moment
		}
	case g.since.Before(moment):
		g.since = moment
	}
}

// pass finds what time has changed, and the moments of the next change.
func (g *granted) pass(at, required time.Time, touch func(*grant)) {
	g.since, g.until = time.Time{}, time.Time{}
	g.bound(required, at)
	for _, one := range g.grants.list {
		if one.err != nil || one.value.expires.IsZero() {
			continue
		}
		g.bound(one.value.expires, at)
		if before := g.byVNI[one.value.vni]; before != nil && one.value.expired(before.at) != one.value.expired(at) {
			touch(one.value)
		}
	}
}

// renew makes the grants of those VPCs anew of which some are touched. now has the new
// ones; the others that are touched have gone, or are there and count in another way.
func (g *granted) renew(at time.Time, touched map[uint32]map[holder]bool, now []*grant) {
	next := make(map[uint32]*vpcGrants, len(g.byVNI)+len(touched))
	maps.Copy(next, g.byVNI)
	for vni, holders := range touched {
		v := &vpcGrants{at: at, by: map[holder]*grant{}}
		if old := next[vni]; old != nil {
			v.by = maps.Clone(old.by)
		}
		for h := range holders {
			if _, there := g.grants.find(records.EndpointKey(h.node, vni, h.name)); !there {
				delete(v.by, h)
			}
		}
		next[vni] = v
	}
	for _, one := range now {
		next[one.vni].by[one.holder] = one
	}
	maps.DeleteFunc(next, func(_ uint32, v *vpcGrants) bool { return len(v.by) == 0 })
	g.byVNI = next
}
