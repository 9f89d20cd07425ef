package isolation

import (
	"errors"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// cutOff closes what is not wanted any more, before anything is opened.
func (d *Datapath) cutOff(want *State, before *seen) error {
	var errs []error
	t := d.tables
	for ifindex, e := range t.endpoints.have {
		wanted, ok := want.Endpoint(keyOf(&e))
		link := before.links.byIndex[int(ifindex)]
		if ok && (link == nil || link.Attrs().Name != before.deviceOf(&wanted)) {
			t.owing = true
			errs = append(errs, t.endpoints.bury(ifindex, true))
		}
	}
	return errors.Join(append(errs, d.closeEndpoints(want), d.closeAddresses(want))...)
}

// closeEndpoints takes endpoints out of force that are not wanted, or that are
// others under the same name: by their addresses.
func (d *Datapath) closeEndpoints(want *State) error {
	var errs []error
	t := d.tables
	for ifindex, e := range t.endpoints.have {
		wanted, ok := want.Endpoint(keyOf(&e))
		next := edgenetEndpoint{}
		setAddresses(&next, &wanted)
		switch {
		case !ok || !sameAddresses(&e, &next):
			t.owing = true
			errs = append(errs, t.endpoints.bury(ifindex, ok))
		case wanted.Superseded && e.Flags == 0:
			e.Flags = flagsOf(&wanted)
			err := t.endpoints.put(ifindex, e)
			if err == nil {
				t.endpoints.note(ifindex, e)
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// closeAddresses takes the addresses that are not wanted any more out of force.
// One that a prefix of its VPC contains is somewhere else then, like any change.
func (d *Datapath) closeAddresses(want *State) error {
	t := d.tables
	var gone []edgenetAddressKey
	for vni, have := range t.addresses.have {
		v := want.VPCs[vni]
		before := d.filled[vni].vpc
		if v != nil && v == before {
			continue
		}
		switch {
		case v == nil:
			for key := range have {
				gone = append(gone, key)
			}
		case len(v.Routes) > 0 || len(t.routes.have[vni]) > 0:
		case v.Since != nil && v.Since == before:
			for _, addr := range v.Changed {
				if _, ok := v.Addresses[addr]; !ok {
					gone = append(gone, keyAt(vni, addr))
				}
			}
		default:
			for key, places := range have {
				if _, ok := v.Addresses[addrOf(&key)]; !ok && places[0].Flags == 0 && places[1].Flags == 0 {
					gone = append(gone, key)
				}
			}
		}
	}
	gone = slices.DeleteFunc(gone, t.addresses.fresh)
	if len(gone) == 0 {
		return nil
	}
	// Who has it next is judged anew.
	t.mustFlip, t.owing = true, true
	return t.addresses.close(gone)
}

// removeDevices begins to delete the devices that were made for endpoints which
// are not wanted, and leaves the others as they were before.
func (d *Datapath) removeDevices(want *State, before *seen) (begun []*deletion, err error) {
	links := before.links
	keep := make(map[string]bool)
	for key := range want.Keys() {
		e, _ := want.Endpoint(key)
		keep[before.deviceOf(&e)] = true
	}
	for _, name := range want.Tunnels {
		keep[name] = true
	}
	var errs []error
	for ifindex := range d.attached {
		link := links.byIndex[ifindex]
		if link == nil {
			delete(d.attached, ifindex)
			continue
		}
		if !keep[link.Attrs().Name] && !isMade(link) {
			errs = append(errs, d.release(link))
		}
	}
	for name, link := range links.byName {
		if !keep[name] && isMade(link) {
			begun = append(begun, d.deletions.begin(link))
			delete(d.attached, link.Attrs().Index)
			links.remove(link)
		}
	}
	for key := range d.checked {
		if _, ok := want.Endpoint(key); !ok {
			delete(d.checked, key)
		}
	}
	return begun, errors.Join(errs...)
}

// isMade says whether edgenet made a device for an endpoint. One that it had no
// time to mark is known by its name.
func isMade(link netlink.Link) bool {
	a := link.Attrs()
	if strings.HasPrefix(a.Alias, aliasPrefix) {
		return slices.Contains([]string{"veth", "tuntap"}, link.Type())
	}
	return a.Alias == "" && link.Type() == "veth" && isVethName(a.Name)
}
