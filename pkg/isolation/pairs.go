package isolation

import "errors"

// writePairs writes endpoints and addresses. If anything that rules consist of
// is to change, all of it is written into the slot that is not in force, and
// true returned: the generation has to be increased.
func (d *Datapath) writePairs(p *plan, failed *ApplyError) bool {
	t := d.tables
	active := t.active()
	change := p.changes(t, active)
	for ifindex, next := range p.endpoints {
		have := t.endpoints.have[ifindex]
		next.Rules = pair(have.Rules, next.Rules[0], active, change)
		if err := t.endpoints.put(ifindex, next); err != nil {
			failed.endpoint(keyOf(&next), errors.Join(err, t.endpoints.delete(ifindex)))
		}
	}
	for key, next := range p.addresses {
		next.Places = pair(t.addresses.have[key].Places, next.Places[0], active, change)
		// What cannot be changed is closed: its old value may permit too much.
		if err := t.addresses.put(key, next); err != nil {
			failed.other(errors.Join(err, t.addresses.delete(key)))
		}
	}
	return change
}

// pair keeps the slot in force and sets the other. A new pair has nothing in
// force: nothing passes before the generation is increased.
func pair[T any](have [2]T, want T, active int, change bool) [2]T {
	if change {
		have[1-active] = want
	}
	return have
}

// changes says whether rules will be other than they are.
func (p *plan) changes(t *tables, active int) bool {
	for ifindex, next := range p.endpoints {
		have, ok := t.endpoints.have[ifindex]
		if !ok || have.Id != next.Id || have.Rules[active] != next.Rules[0] {
			return true
		}
	}
	for key, next := range p.addresses {
		have, ok := t.addresses.have[key]
		if !ok || have.Places[active] != next.Places[0] {
			return true
		}
	}
	return false
}

// dropStale deletes what is in the tables and not planned.
func (d *Datapath) dropStale(p *plan) error {
	t := d.tables
	return errors.Join(
		retain(t.addresses, p.addresses),
		retain(t.endpoints, p.endpoints),
		retain(t.nodes, p.nodes),
	)
}

func retain[K, V comparable](t *mirror[K, V], planned map[K]V) error {
	var errs []error
	for key := range t.have {
		if _, ok := planned[key]; !ok {
			errs = append(errs, t.delete(key))
		}
	}
	return errors.Join(errs...)
}
