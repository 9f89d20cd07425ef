package isolation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
)

// ApplyError says what could not be made as wanted. Everything else was.
type ApplyError struct {
	// Endpoints has the reason for each endpoint that is not as wanted.
	Endpoints map[Key]error
	// Other is whatever else went wrong, joined.
	Other error
}

// Error lists all of it.
func (e *ApplyError) Error() string {
	var b strings.Builder
	b.WriteString("apply datapath")
	if e.Other != nil {
		fmt.Fprintf(&b, ": %v", e.Other)
	}
	for _, key := range sortedKeys(e.Endpoints) {
		fmt.Fprintf(&b, ": endpoint %d/%s: %v", key.VNI, key.Name, e.Endpoints[key])
	}
	return b.String()
}

// Unwrap gives errors.Is and errors.As all of the reasons.
func (e *ApplyError) Unwrap() []error {
	errs := slices.Collect(maps.Values(e.Endpoints))
	if e.Other != nil {
		errs = append(errs, e.Other)
	}
	return errs
}

func (e *ApplyError) other(err error) { e.Other = errors.Join(e.Other, err) }

func (e *ApplyError) endpoint(key Key, err error) {
	if err != nil {
		e.Endpoints[key] = errors.Join(e.Endpoints[key], err)
	}
}

func (e *ApplyError) orNil() error {
	if e.Other == nil && len(e.Endpoints) == 0 {
		return nil
	}
	return e
}

func sortedKeys[V any](m map[Key]V) []Key {
	return slices.SortedFunc(maps.Keys(m), compareKeys)
}

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.VNI, b.VNI), strings.Compare(a.Name, b.Name))
}

// Apply makes the kernel equal to want and touches nothing that is right. What
// is to be closed is closed first. The error, if any, is an *[ApplyError].
func (d *Datapath) Apply(ctx context.Context, want State) error {
	failed, begun := d.applyAll(ctx, &want)
	failed.other(waitAll(ctx, begun))
	return failed.orNil()
}

func (d *Datapath) applyAll(ctx context.Context, want *State) (*ApplyError, []*deletion) {
	d.mu.Lock()
	defer d.mu.Unlock()
	links, err := d.listLinks()
	if err != nil {
		return &ApplyError{Other: err}, nil
	}
	d.last = seen{links: links}
	return d.apply(ctx, want)
}

// Change is [Datapath.Apply] for when only want has changed since the last call:
// what was made right then is not looked at again, so its cost follows from what
// is new. What others did to the devices meanwhile is for the next Apply, but for
// tunnel devices, and others that nodes lead to, that are not those that were last
// seen under their names. It does not wait until the devices that it deletes are
// gone: see [Datapath.AwaitGone].
func (d *Datapath) Change(ctx context.Context, want State) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last.wires == nil || !slices.Equal(d.last.tunnels, want.Tunnels) || d.otherDevices(&want) {
		links, err := d.listLinks()
		if err != nil {
			return &ApplyError{Other: err}
		}
		d.last = seen{links: links}
	}
	failed, _ := d.apply(ctx, &want)
	return failed.orNil()
}

// apply goes on from what was last seen. Whatever fails is looked at anew by the
// next call. It returns the deletions of devices that it has begun.
func (d *Datapath) apply(ctx context.Context, want *State) (failed *ApplyError, begun []*deletion) {
	failed = &ApplyError{Endpoints: make(map[Key]error)}
	if d.tables == nil {
		failed.other(errors.New("the datapath is closed"))
		return failed, nil
	}
	if want.Prefix.Masked() != d.cfg.NodePrefix {
		failed.other(fmt.Errorf("state is of node %v, datapath of %v", want.Prefix, d.cfg.NodePrefix))
		return failed, nil
	}
	before := d.last
	d.last = seen{}
	if err := d.lookAtNew(ctx, want, &before); err != nil {
		failed.other(err)
		return failed, nil
	}
	failed.other(d.tables.collect())
	defer d.tables.settle()
	failed.other(d.cutOff(want, &before))
	begun, err := d.removeDevices(want, &before)
	failed.other(err)
	wires := d.wire(ctx, want, &before, failed)
	if !slices.Equal(before.tunnels, want.Tunnels) {
		failed.other(d.attachTunnels(want, before.links))
	}
	d.fill(want, before.links, wires, failed)
	d.raise(want, wires, failed)
	d.ask(want, wires)
	d.remember(want, before.links, wires, failed)
	return failed, begun
}

// wire makes the devices of all endpoints, and puts the datapath on them.
func (d *Datapath) wire(ctx context.Context, want *State, before *seen, failed *ApplyError) map[Key]wired {
	wires := make(map[Key]wired, len(before.wires))
	owners := make(map[string]Key, len(before.wires))
	var rest []Key
	for key := range want.Keys() {
		e, _ := want.Endpoint(key)
		w, ok := before.right(&e)
		if !ok || slices.Contains(want.Tunnels, w.name) {
			rest = append(rest, key)
			continue
		}
		wires[key], owners[w.name] = w, key
	}
	slices.SortFunc(rest, compareKeys)
	for _, key := range rest {
		e, _ := want.Endpoint(key)
		err := ctx.Err()
		if err == nil {
			err = e.check()
		}
		device := before.deviceOf(&e)
		if err == nil && slices.Contains(want.Tunnels, device) {
			err = fmt.Errorf("device %s is a tunnel", device)
		}
		if first, taken := owners[device]; err == nil && taken {
			err = fmt.Errorf("device %s is endpoint %d/%s's", device, first.VNI, first.Name)
		}
		if err == nil {
			err = d.deletions.wait(ctx, device)
		}
		if err == nil {
			owners[device] = key
			wires[key], err = d.wireOne(&e, before.links)
		}
		if err != nil {
			delete(wires, key)
			failed.endpoint(key, err)
		}
	}
	return wires
}

func (d *Datapath) wireOne(e *Endpoint, links linkTable) (w wired, err error) {
	switch e.Kind {
	case KindNetns:
		w, err = d.wireNetns(e, links)
	case KindTap:
		w, err = d.wireTap(e, links)
	case KindDevice:
		w, err = d.wireDevice(e, links)
	default:
		err = fmt.Errorf("kind %d is unknown", e.Kind)
	}
	if err != nil {
		return w, err
	}
	return w, d.attachEndpoint(e.Kind, w)
}

// attachTunnels puts the datapath on the tunnels that are there, and takes it
// from the devices that are tunnels no more.
func (d *Datapath) attachTunnels(want *State, links linkTable) error {
	if err := d.guard(want, links); err != nil {
		return fmt.Errorf("attach to tunnel devices: %w", err)
	}
	var errs []error
	for _, name := range want.Tunnels {
		link := links.byName[name]
		if link == nil {
			errs = append(errs, fmt.Errorf("tunnel device %s does not exist", name))
			continue
		}
		if err := d.ensureAttached(d.hook, link.Attrs().Index, d.fromTunnel); err != nil {
			errs = append(errs, fmt.Errorf("attach to tunnel device %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// raise brings the devices up, now that the datapath guards them.
func (d *Datapath) raise(want *State, wires map[Key]wired, failed *ApplyError) {
	for key, w := range wires {
		if w.up {
			continue
		}
		link, err := d.nl.LinkByIndex(int(w.ifindex))
		if err != nil {
			failed.endpoint(key, fmt.Errorf("find %s: %w", w.name, err))
			continue
		}
		if err := d.nl.LinkSetUp(link); err != nil {
			failed.endpoint(key, fmt.Errorf("bring up %s: %w", w.name, err))
			continue
		}
		link.Attrs().Flags |= net.FlagUp
		if e, _ := want.Endpoint(key); w.inode != 0 {
			d.markChecked(&e, link, w.inode)
		}
	}
}
