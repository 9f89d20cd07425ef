package isolation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
)

// seen is what one call found and left right, and the next may take as given.
type seen struct {
	links   linkTable
	tunnels []string
	wires   map[Key]seenWire
}

// seenWire is an endpoint's wiring together with what was wanted of it.
type seenWire struct {
	wanted Endpoint
	wired  wired
}

// right returns the wiring of an endpoint that was made right as it is wanted
// now.
func (s *seen) right(e *Endpoint) (wired, bool) {
	w, ok := s.wires[e.Key]
	return w.wired, ok && sameWiring(&w.wanted, e)
}

// sameWiring compares what devices, addresses and routes follow from.
func sameWiring(a, b *Endpoint) bool {
	return a.Kind == b.Kind && a.Netns == b.Netns &&
		a.Ifname == b.Ifname && a.Device == b.Device && a.MTU == b.MTU &&
		bytes.Equal(a.MAC, b.MAC) && slices.Equal(a.Addresses, b.Addresses) &&
		slices.Equal(a.Routed, b.Routed) && slices.Equal(a.Networks, b.Networks)
}

// deviceOf is the name of the host's device of an endpoint; most have been worked
// out before.
func (s *seen) deviceOf(e *Endpoint) string {
	if w, ok := s.wires[e.Key]; ok && w.wanted.Kind == e.Kind && w.wanted.Device == e.Device {
		return w.wired.name
	}
	return hostDevice(e)
}

// lookAtNew looks at the devices of the endpoints that are new or other than
// they were.
func (d *Datapath) lookAtNew(ctx context.Context, want *State, before *seen) error {
	if before.wires == nil {
		return nil // all devices have been listed just now
	}
	for key := range want.Keys() {
		e, _ := want.Endpoint(key)
		if _, ok := before.right(&e); ok {
			continue
		}
		name := hostDevice(&e)
		if old := before.links.byName[name]; old != nil {
			before.links.remove(old)
		}
		// One of this name may be on its way out.
		if err := d.deletions.wait(ctx, name); err != nil {
			return err
		}
		link, err := d.nl.LinkByName(name)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			continue
		}
		if err != nil {
			return fmt.Errorf("find device %s: %w", name, err)
		}
		before.links.add(link)
	}
	return nil
}

// remember keeps what is right for the next Change. After an error outside of
// endpoints there is nothing to go on from.
func (d *Datapath) remember(want *State, links linkTable, wires map[Key]wired, failed *ApplyError) {
	if failed.Other != nil {
		return
	}
	next := seen{links: links, tunnels: slices.Clone(want.Tunnels), wires: make(map[Key]seenWire, len(wires))}
	for key, w := range wires {
		if failed.Endpoints[key] != nil {
			continue
		}
		if links.byIndex[int(w.ifindex)] == nil {
			link, err := d.nl.LinkByIndex(int(w.ifindex))
			if err != nil {
				continue // it is gone again, or will be looked at anew
			}
			links.add(link)
		}
		w.up = true
		e, _ := want.Endpoint(key)
		next.wires[key] = seenWire{wanted: e, wired: w}
	}
	d.last = next
}
