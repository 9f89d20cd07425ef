package isolation

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// cutOff closes what is not wanted any more, before anything is opened.
func (d *Datapath) cutOff(want *flatState, links linkTable) error {
	var errs []error
	t := d.tables
	for ifindex, e := range t.endpoints.have {
		wanted, ok := want.Endpoints[keyOf(&e)]
		link := links.byIndex[int(ifindex)]
		if !ok || link == nil || link.Attrs().Name != hostDevice(&wanted) {
			errs = append(errs, t.endpoints.delete(ifindex))
			continue
		}
		if wanted.Superseded && e.Flags == 0 {
			e.Flags = edgenetEndpointFlagENDPOINT_SUPERSEDED
			errs = append(errs, t.endpoints.put(ifindex, e))
		}
	}
	for key := range t.addresses.have {
		address := netip.AddrFrom16(key.Address.Bytes).Unmap()
		if _, ok := want.Addresses[Address{VNI: key.Vni, Addr: address}]; !ok {
			errs = append(errs, t.addresses.delete(key))
		}
	}
	return errors.Join(errs...)
}

// removeDevices deletes the devices that were made for endpoints which are not
// wanted, and leaves the others as they were before.
func (d *Datapath) removeDevices(want *flatState, links linkTable) error {
	keep := make(map[string]bool)
	for key, e := range want.Endpoints {
		e.Key = key
		keep[hostDevice(&e)] = true
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
			errs = append(errs, d.deleteMade(link))
			links.remove(link)
		}
	}
	for key := range d.checked {
		if _, ok := want.Endpoints[key]; !ok {
			delete(d.checked, key)
		}
	}
	return errors.Join(errs...)
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

func (d *Datapath) deleteMade(link netlink.Link) error {
	err := d.nl.LinkDel(link)
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete %s: %w", link.Attrs().Name, err)
	}
	delete(d.attached, link.Attrs().Index)
	d.log.Info("endpoint's device deleted", "device", link.Attrs().Name)
	return nil
}
