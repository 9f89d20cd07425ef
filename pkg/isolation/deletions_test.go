package isolation

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
)

// linger keeps devices that are being deleted until it is told to let go, once
// the deletion of one has begun.
func (h *host) linger() (begun <-chan []netlink.Link, release func()) {
	began, held := make(chan []netlink.Link, 16), make(chan struct{})
	really := h.dp.deletions.delete
	h.dp.deletions.delete = func(links []netlink.Link) []error {
		began <- links
		<-held
		return really(links)
	}
	return began, func() { close(held) }
}

// remove takes an endpoint out of the state, and applies that as a change.
func (h *host) remove(key Key, address string) {
	h.t.Helper()
	delete(h.state.Endpoints, key)
	for at := range h.state.Addresses {
		if at.Addr.String() == address {
			delete(h.state.Addresses, at)
		}
	}
	h.change()
}

// While one endpoint's device is deleted, others come and go; their devices are
// deleted together.
func TestNobodyWaitsForTheDeletionOfAnothersDevice(t *testing.T) {
	h := newHost(t, nodeA, AttachAuto)
	web, db, cache := newSpace(t), newSpace(t), newSpace(t)
	h.endpoint(testVNI, "web", "10.0.0.2", web)
	h.endpoint(testVNI, "db", "10.0.0.3", db)
	h.endpoint(testVNI, "old", "10.0.0.4", cache)
	h.change()
	begun, release := h.linger()
	h.remove(webKey, "10.0.0.2")
	if first := <-begun; len(first) != 1 {
		t.Errorf("%d devices are deleted first", len(first))
	}
	h.remove(dbKey, "10.0.0.3")
	h.remove(Key{testVNI, "old"}, "10.0.0.4")
	late, other := newSpace(t), newSpace(t)
	h.endpoint(testVNI, "late", "10.0.0.5", late)
	h.endpoint(testVNI, "other", "10.0.0.6", other)
	h.change()
	h.apply() // sees the devices, and knows of them
	late.reaches("10.0.0.6")
	release()
	if second := <-begun; len(second) != 2 {
		t.Errorf("%d devices are deleted next, want 2 together", len(second))
	}
	for _, key := range []Key{webKey, dbKey, {testVNI, "old"}} {
		if err := h.dp.AwaitGone(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	for name, c := range map[string]*space{"web": web, "db": db, "old": cache} {
		if now := c.devices(); now != "lo" {
			t.Errorf("the namespace of %s has %q", name, now)
		}
	}
	late.reaches("10.0.0.6")
}

// Who comes back under a name waits until its old device is gone.
func TestAnEndpointThatComesBackWaitsForItsOldDevice(t *testing.T) {
	for name, round := range map[string]func(*host){"change": (*host).change, "apply": (*host).apply} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, nodeA, AttachAuto)
			web, db := newSpace(t), newSpace(t)
			h.endpoint(testVNI, "web", "10.0.0.2", web)
			h.endpoint(testVNI, "db", "10.0.0.3", db)
			h.change()
			begun, release := h.linger()
			h.remove(webKey, "10.0.0.2")
			<-begun
			h.endpoint(testVNI, "web", "10.0.0.2", web)
			go release()
			round(h)
			db.reaches("10.0.0.2")
		})
	}
}

// A device that could not be deleted is told of, and deleted by the next round.
func TestADeletionThatFailsIsTriedAgain(t *testing.T) {
	h := newHost(t, nodeA, AttachAuto)
	web := newSpace(t)
	h.endpoint(testVNI, "web", "10.0.0.2", web)
	h.change()
	begun, release := make(chan struct{}), make(chan struct{})
	really := h.dp.deletions.delete
	h.dp.deletions.delete = func([]netlink.Link) []error {
		close(begun)
		<-release
		return []error{errors.New("device is busy")}
	}
	h.remove(webKey, "10.0.0.2")
	<-begun
	one := h.dp.deletions.of(webKey)
	close(release)
	if err := one.wait(t.Context()); err == nil || err.Error() != "device is busy" {
		t.Errorf("the deletion says %v", err)
	}
	h.dp.deletions.delete = really
	h.apply()
	if now := web.devices(); now != "lo" {
		t.Errorf("after a round the namespace has %q", now)
	}
}
