package isolation

import "testing"

// hide deletes from the kernel alone what is known of an address: in this
// generation nobody tells packets so.
func (b *bench) hide(addr [16]byte) {
	b.t.Helper()
	if err := b.dp.maps.Addresses.Delete(&edgenetAddressKey{Vni: testVNI, Address: edgenetIp{Bytes: addr}}); err != nil {
		b.t.Fatal(err)
	}
}

// mangle changes what every flow remembers of its other side, and wants there to
// be something.
func (b *bench) mangle(change func(place uint64) uint64) {
	b.t.Helper()
	if n := b.changeFlows(func(key edgenetFlowKey, flow *edgenetFlow) {
		if flow.Place == 0 {
			b.t.Errorf("flow %v remembers no place", key)
		}
		flow.Place = change(flow.Place)
	}); n == 0 {
		b.t.Fatal("there is no flow")
	}
}

// A flow remembers where its other side is for as long as no change may have
// moved it.
func TestAFlowRemembersWhereItsPeerIs(t *testing.T) {
	b := newBench(t)
	b.rules(allowWeb, allowAll)
	b.redirect(t, b.dp.fromTunnel, farTCP(40000, flagSYN))
	b.redirect(t, b.dp.fromEndpoint, webTCP(40000, flagSYN|flagACK))
	b.redirect(t, b.dp.fromEndpoint, udp4(farAddr, 5000, 53))
	b.hide(farAddr.As16())
	b.redirect(t, b.dp.fromTunnel, farTCP(40000, flagACK))
	b.redirect(t, b.dp.fromEndpoint, webTCP(40000, flagACK))
	b.redirect(t, b.dp.fromTunnel, fromFar(17, udpDatagram(53, 5000, "")))
	b.drop(t, b.dp.fromTunnel, farTCP(40001, flagSYN), 0, "not-owner")
	b.drop(t, b.dp.fromEndpoint, udp4(farAddr, 5001, 53), 0, "no-route")
	// A call is never waved through.
	b.drop(t, b.dp.fromTunnel, farTCP(40000, flagSYN), 0, "not-owner")
	b.dp.tables.flip()
	b.drop(t, b.dp.fromTunnel, farTCP(40000, flagACK), 0, "not-owner")
	b.drop(t, b.dp.fromEndpoint, webTCP(40000, flagACK), 0, "no-route")
}

// The memory of a flow may have become another's while a packet reads it: what
// another flow remembers is nothing to this one, which looks its peer up.
func TestAFlowCannotReadWhatAnotherRemembers(t *testing.T) {
	b := newBench(t)
	b.rules(allowWeb, allowAll)
	b.redirect(t, b.dp.fromTunnel, farTCP(40000, flagSYN))
	other := uint64(0)
	b.mangle(func(place uint64) uint64 { other = place; return place })
	b.dp.tables.flip()
	b.redirect(t, b.dp.fromEndpoint, webTCP(40000, flagSYN|flagACK))
	b.mangle(func(place uint64) uint64 {
		if place == other {
			t.Error("the place of another generation is the same word")
		}
		return other
	})
	b.redirect(t, b.dp.fromEndpoint, webTCP(40000, flagACK))
	b.redirect(t, b.dp.fromTunnel, farTCP(40000, flagACK))
	b.hide(farAddr.As16())
	b.drop(t, b.dp.fromEndpoint, webTCP(40000, flagACK), 0, "no-route")
	b.drop(t, b.dp.fromTunnel, farTCP(40000, flagACK), 0, "not-owner")
}

// Another node cannot send in the name of a peer whose flow is known.
func TestAKnownFlowIsItsOwnersOnly(t *testing.T) {
	b := newBench(t)
	b.rules(allowWeb, allowAll)
	b.redirect(t, b.dp.fromTunnel, farTCP(40000, flagSYN))
	b.redirect(t, b.dp.fromEndpoint, webTCP(40000, flagSYN|flagACK))
	forged := edit(farTCP(40000, flagACK), func(p []byte) { p[14+8+7]++ }) // the last byte of the node's /64
	b.drop(t, b.dp.fromTunnel, forged, 0, "not-owner")
	b.redirect(t, b.dp.fromTunnel, farTCP(40000, flagACK))
}
