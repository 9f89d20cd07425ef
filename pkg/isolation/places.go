package isolation

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// routeBits is the length in bits of what comes before the prefix in the key of
// a route: the VNI.
const routeBits = 32

// keyAt is how an address stands in the map of addresses.
func keyAt(vni uint32, addr netip.Addr) edgenetAddressKey {
	key := edgenetAddressKey{Vni: vni}
	key.Address.Bytes = addr.As16()
	return key
}

// addrOf is the address of a key.
func addrOf(key *edgenetAddressKey) netip.Addr {
	return netip.AddrFrom16(key.Address.Bytes).Unmap()
}

// keyOfRoute is how a prefix stands in the map of routes; a prefix of IPv4
// addresses is one of IPv6 addresses that IPv4 is mapped to.
func keyOfRoute(vni uint32, p netip.Prefix) edgenetRouteKey {
	p = p.Masked()
	key := edgenetRouteKey{Vni: toBig(vni), Length: routeBits + uint32(p.Bits())}
	if p.Addr().Is4() {
		key.Length += 96
	}
	key.Prefix.Bytes = p.Addr().As16()
	return key
}

func toBig(n uint32) uint32 {
	return binary.NativeEndian.Uint32(binary.BigEndian.AppendUint32(nil, n))
}

func fromBig(n uint32) uint32 {
	return binary.BigEndian.Uint32(binary.NativeEndian.AppendUint32(nil, n))
}

// placeOf says where an address or a prefix is. One of an endpoint without a
// device is nowhere.
func placeOf(l Location, devices map[string]uint32) edgenetPlace {
	place := edgenetPlace{Identity: uint64(l.Identity)}
	if l.Node.IsValid() {
		place.Node = prefixWord(l.Node)
		return place
	}
	place.Ifindex = devices[l.Endpoint.Name]
	return place
}

// fillAddresses stages the addresses that may be other than they were.
func (r *round) fillAddresses(vni uint32, v *VPC, now *filled, touched []netip.Addr) {
	t := r.d.tables
	lengths := lengthsOf(t.routes.have[vni])
	for _, addr := range touched {
		location, ok := v.Addresses[addr]
		key := keyAt(vni, addr)
		var place edgenetPlace
		switch {
		case now.gateways[addr]:
			place.Flags = edgenetPlaceFlagPLACE_GATEWAY
			t.tokens.move(key, 0)
		case ok:
			place = placeOf(location, now.devices)
			t.tokens.move(key, r.nodeOf(location))
		default:
			t.tokens.move(key, 0)
		}
		if place.Node == 0 && place.Ifindex == 0 && place.Flags == 0 {
			place = edgenetPlace{}
		} else {
			place.Token = t.tokens.of(key)
		}
		r.stageAddress(key, place, lengths)
	}
}

// nodeOf is the node at which an address is, this one among them.
func (r *round) nodeOf(l Location) uint64 {
	if l.Node.IsValid() {
		return prefixWord(l.Node)
	}
	return prefixWord(r.d.cfg.NodePrefix)
}

// stageAddress stages where an address is. What is not known yet by itself or by
// a prefix is as good as known all along: it needs no flip.
func (r *round) stageAddress(key edgenetAddressKey, place edgenetPlace, lengths []uint32) {
	t := r.d.tables
	t.addresses.stage(key, place, r.active)
	if _, staged := t.addresses.staged[key]; staged {
		r.flip = r.flip || !t.addresses.fresh(key) || t.covered(key, lengths, r.active) != edgenetPlace{}
	}
}

// fillTokens stages the addresses whose token changed because of others.
func (r *round) fillTokens() {
	t := r.d.tables
	for _, key := range t.tokens.touched() {
		place := t.addresses.staged[key].want
		if _, staged := t.addresses.staged[key]; !staged {
			have, _ := t.addresses.at(key)
			place = have[r.active]
		}
		if place == (edgenetPlace{}) {
			continue
		}
		place.Token = t.tokens.of(key)
		r.stageAddress(key, place, lengthsOf(t.routes.have[key.Vni]))
	}
}

// lengthsOf are the lengths of prefixes that occur, the longest first.
func lengthsOf[V any](routes map[edgenetRouteKey]V) []uint32 {
	var seen [routeBits + 129]bool
	for key := range routes {
		if key.Length < uint32(len(seen)) {
			seen[key.Length] = true
		}
	}
	var lengths []uint32
	for length := len(seen) - 1; length >= routeBits; length-- {
		if seen[length] {
			lengths = append(lengths, uint32(length))
		}
	}
	return lengths
}

// covered is where an address is by the routes in force, all zero for nowhere.
func (t *tables) covered(key edgenetAddressKey, lengths []uint32, active int) edgenetPlace {
	whole := edgenetRouteKey{Vni: toBig(key.Vni), Length: routeBits + 129, Prefix: key.Address}
	place, _ := longest(t.routes.have[key.Vni], whole, lengths, func(s [2]edgenetPlace) edgenetPlace { return s[active] })
	return place
}

// longest is the value of the longest prefix that contains all of key and is
// shorter.
func longest[V, R any](routes map[edgenetRouteKey]V, key edgenetRouteKey, lengths []uint32, value func(V) R) (found R, ok bool) {
	for _, length := range lengths {
		if length >= key.Length {
			continue
		}
		p := netip.PrefixFrom(netip.AddrFrom16(key.Prefix.Bytes), int(length)-routeBits).Masked()
		shorter := edgenetRouteKey{Vni: key.Vni, Length: length}
		shorter.Prefix.Bytes = p.Addr().As16()
		if v, ok := routes[shorter]; ok {
			return value(v), true
		}
	}
	return found, false
}

// fillRoutes stages the prefixes of a VPC. Where one comes or goes, its addresses
// were, or will be, where the next shorter one is: so its slots say.
func (r *round) fillRoutes(vni uint32, v *VPC, devices map[string]uint32) {
	t := &r.d.tables.routes
	have := t.have[vni]
	if len(have) == 0 && len(v.Routes) == 0 {
		return
	}
	want := make(map[edgenetRouteKey]edgenetPlace, len(v.Routes))
	for prefix, location := range v.Routes {
		want[keyOfRoute(vni, prefix)] = placeOf(location, devices)
	}
	haveLengths, wantLengths := lengthsOf(have), lengthsOf(want)
	for key, place := range want {
		slots, ok := have[key]
		if ok && slots[r.active] == place {
			delete(t.leaving, key)
			continue
		}
		before, known := longest(have, key, haveLengths, func(s [2]edgenetPlace) edgenetPlace { return s[r.active] })
		delete(t.leaving, key)
		t.staged[key] = staged[edgenetPlace]{want: place, before: before}
		r.flip = r.flip || ok || known
	}
	for key, slots := range have {
		if _, ok := want[key]; ok {
			continue
		}
		rest, _ := longest(want, key, wantLengths, func(p edgenetPlace) edgenetPlace { return p })
		if slots[r.active] == rest {
			t.leave(key)
			r.d.tables.owing = true
			continue
		}
		t.staged[key] = staged[edgenetPlace]{want: rest, leaves: true}
		r.flip = true
	}
}

// all are the addresses of a VPC that are known or wanted.
func (r *round) all(vni uint32, v *VPC, gateways map[netip.Addr]bool) []netip.Addr {
	have := r.d.tables.addresses.have[vni]
	addresses := make([]netip.Addr, 0, len(v.Addresses)+len(gateways))
	for addr := range v.Addresses {
		addresses = append(addresses, addr)
	}
	for addr := range gateways {
		if _, ok := v.Addresses[addr]; !ok {
			addresses = append(addresses, addr)
		}
	}
	for key := range have {
		addr := addrOf(&key)
		if _, ok := v.Addresses[addr]; !ok && !gateways[addr] {
			addresses = append(addresses, addr)
		}
	}
	return addresses
}

// closePlaces reports what could not be written, and takes it out of force: what
// it was may permit too much.
func closePlaces[K comparable, V any](r *round, t *slotted[uint32, K, edgenetPlace, V], failed map[K]error) {
	if len(failed) == 0 {
		return
	}
	keys := make([]K, 0, len(failed))
	var one error
	for key, err := range failed {
		one = err
		if _, ok := t.at(key); ok {
			keys = append(keys, key)
		}
	}
	if len(failed) > 1 {
		one = fmt.Errorf("%d entries: %w", len(failed), one)
	}
	r.failed.other(one)
	if err := t.close(keys); err != nil {
		r.failed.other(err)
	}
	r.whole = false
}
