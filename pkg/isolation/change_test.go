package isolation

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

// A change makes, moves and removes endpoints as a whole round does, and what it
// leaves is right in the eyes of the next whole round.
func TestAChangeIsAsGoodAsARound(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, nodeA, mode)
			web, db, next := newSpace(t), newSpace(t), newSpace(t)
			h.endpoint(testVNI, "web", "10.0.0.2", web)
			h.change()
			h.endpoint(testVNI, "db", "10.0.0.3", db)
			h.change()
			web.reaches("10.0.0.3")

			h.endpoint(testVNI, "db", "10.0.0.3", next)
			h.change()
			web.reaches("10.0.0.3")
			if now := db.devices(); now != "lo" {
				t.Errorf("the old namespace has %q", now)
			}
			before := h.devices()
			h.apply()
			if now := h.devices(); now != before {
				t.Errorf("a round after the change made %q of %q", now, before)
			}
			web.reaches("10.0.0.3")

			delete(h.state.Endpoints, Key{testVNI, "db"})
			delete(h.state.Addresses, Address{testVNI, dbAddr})
			h.change()
			web.doesNotReach("10.0.0.3")
			if err := h.dp.AwaitGone(t.Context(), dbKey); err != nil {
				t.Fatal(err)
			}
			if now := next.devices(); now != "lo" {
				t.Errorf("the namespace of the removed endpoint has %q", now)
			}
			h.apply()
		})
	}
}

// An endpoint that could not be made is tried again by the next change, though
// nothing else is looked at twice.
func TestAChangeTriesAgainWhatFailed(t *testing.T) {
	h := newHost(t, nodeA, AttachAuto)
	web, db := newSpace(t), newSpace(t)
	h.endpoint(testVNI, "web", "10.0.0.2", web)
	h.change()
	occupied := in(db, func() (netlink.Link, error) {
		link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "other"}
		return link, netlink.LinkAdd(link)
	})
	h.endpoint(testVNI, "db", "10.0.0.3", db)
	h.do(func() {
		if err := h.dp.Change(t.Context(), h.state.State()); err == nil {
			t.Error("an interface that is there already was taken over")
		}
	})
	in(db, func() (any, error) { return nil, netlink.LinkDel(occupied) })
	h.change()
	web.reaches("10.0.0.3")
}

// What others did to a device is not seen by a change, and mended by a round.
func TestARoundSeesWhatAChangeDoesNot(t *testing.T) {
	h := newHost(t, nodeA, AttachAuto)
	web, db := newSpace(t), newSpace(t)
	h.endpoint(testVNI, "web", "10.0.0.2", web)
	e := h.endpoint(testVNI, "db", "10.0.0.3", db)
	h.apply()
	h.do(func() {
		link, err := netlink.LinkByName(hostDevice(&e))
		if err == nil {
			err = netlink.LinkDel(link)
		}
		if err != nil {
			t.Error(err)
		}
	})
	h.change()
	web.doesNotReach("10.0.0.3")
	h.apply()
	web.reaches("10.0.0.3")
}

// remake makes a device anew, or the first time, and returns its index.
func (h *host) remake(name string) int {
	return in(h.space, func() (int, error) {
		if old, err := netlink.LinkByName(name); err == nil {
			if err := netlink.LinkDel(old); err != nil {
				return 0, err
			}
		}
		if err := hostTap(name); err != nil {
			return 0, err
		}
		now, err := netlink.LinkByName(name)
		if err != nil {
			return 0, err
		}
		return now.Attrs().Index, nil
	})
}

// A tunnel device that was made anew under its name, as charon makes it, is taken
// for what it is by the next change: it has the program, and nodes are led to it.
func TestAChangeSeesATunnelThatIsAnother(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, nodeA, mode)
			h.state.Tunnels = []string{"tuntest"}
			h.state.Nodes[nodeB] = Node{Device: "tuntest", MTU: 1400}
			h.remake("tuntest")
			h.apply()
			index := h.remake("tuntest")
			h.change()
			if got := h.dp.tables.nodes.have[prefixWord(nodeB)].Ifindex; got != uint32(index) {
				t.Errorf("the node is led to device %d, want %d", got, index)
			}
			h.do(func() {
				if _, there, err := h.dp.ownProgram(h.dp.hook, index, h.dp.programIDs[h.dp.fromTunnel]); !there || err != nil {
					t.Errorf("the new device has the program: %v, %v", there, err)
				}
			})
		})
	}
}

// A device that is no tunnel, but that nodes are led to until theirs is there, is
// looked at likewise, also for a node that was not led to it before.
func TestAChangeSeesAnotherDeviceThatNodesLeadTo(t *testing.T) {
	h := newHost(t, nodeA, AttachAuto)
	leads := func(to netip.Prefix, want int) {
		t.Helper()
		if got := h.dp.tables.nodes.have[prefixWord(to)].Ifindex; got != uint32(want) {
			t.Errorf("node %v is led to device %d, want %d", to, got, want)
		}
	}
	h.apply()
	first := h.remake("holdtest")
	h.state.Nodes[nodeB] = Node{Device: "holdtest", MTU: 1400}
	h.change()
	leads(nodeB, first)
	second := h.remake("holdtest")
	if second == first {
		t.Fatalf("the device that was made anew has the index of the old one, %d", first)
	}
	nodeC := netip.MustParsePrefix("fd12:340b:cccc:cccc::/64")
	h.state.Nodes[nodeC] = Node{Device: "holdtest", MTU: 1400}
	h.change()
	leads(nodeB, second)
	leads(nodeC, second)
}
