package daemon

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/mesh"
)

const (
	// announcePace is the least time between two rounds of writing down what was
	// announced: two endpoints that quarrel about an address must not flood the
	// mesh with it.
	announcePace = 200 * time.Millisecond
	// maxHeard bounds what waits to be written down of one endpoint, so that none
	// takes another's. Who announces repeats it.
	maxHeard = records.MaxAnnounced
)

// announcer is a datapath that tells when an endpoint of this host announces an
// address, by gratuitous ARP or an unsolicited neighbour advertisement.
type announcer interface {
	// Announcements has f called for each, until the datapath is closed. f does
	// not block.
	Announcements(f func(of isolation.Key, addr netip.Addr)) error
}

// heard is what endpoints of this host announced and is not written down yet.
type heard struct {
	mu    sync.Mutex
	addrs map[isolation.Key][]netip.Addr
	dirty chan struct{}
}

func newHeard() *heard {
	return &heard{addrs: map[isolation.Key][]netip.Addr{}, dirty: make(chan struct{}, 1)}
}

// hear notes an announcement. It never blocks.
func (h *heard) hear(of isolation.Key, addr netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if addrs := h.addrs[of]; len(addrs) < maxHeard && !slices.Contains(addrs, addr) {
		h.addrs[of] = append(addrs, addr)
	}
	poke(h.dirty)
}

// take returns by endpoint what was heard since the last time.
func (h *heard) take() map[isolation.Key][]netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.addrs
	h.addrs = map[isolation.Key][]netip.Addr{}
	return out
}

// listen writes down what is announced until ctx ends.
func (n *network) listen(ctx context.Context) error {
	trouble := complaint{log: n.log, of: "announcements"}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.heard.dirty:
		}
		trouble.note(n.noteAnnouncements(ctx))
		if !pause(ctx, announcePace) {
			return nil
		}
	}
}

// noteAnnouncements writes into this node's endpoint records which addresses
// they have by announcement. All nodes then lead there.
func (n *network) noteAnnouncements(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, in := n.mesh.MeshID(); !in {
		return nil
	}
	s := n.reader.read()
	var errs []error
	for of, addrs := range n.heard.take() {
		e := s.find(&endpoint{node: s.self.ID, vni: of.VNI, name: of.Name})
		if e == nil || !e.holds() {
			continue
		}
		gained := slices.DeleteFunc(addrs, func(addr netip.Addr) bool { return !s.byVNI[e.vni].gains(e, addr) })
		if len(gained) == 0 {
			continue
		}
		n.log.Info("endpoint has announced addresses", "endpoint", e.name, "vni", e.vni, "addresses", gained)
		errs = append(errs, n.put(ctx, e.key(), s.byVNI[e.vni].announce(e, gained, n.mesh.Now())))
	}
	return errors.Join(errs...)
}

// gains tells whether an endpoint that announces an address has it from now on,
// and has not had it already.
func (v *vpc) gains(e *endpoint, addr netip.Addr) bool {
	behind := slices.ContainsFunc(e.routed, func(p netip.Prefix) bool { return p.Contains(addr) })
	return behind && v.hosts[addr] == nil && v.at(addr) != e && v.usable(addr)
}

// announce is the record of an endpoint that has addresses from now on. What it
// had announced and others have by now is left out.
func (v *vpc) announce(e *endpoint, addrs []netip.Addr, at mesh.Version) *records.Endpoint {
	next := proto.CloneOf(e.record)
	next.Announced = nil
	for _, a := range e.record.GetAnnounced() {
		addr, err := records.ParseAddress(a.GetAddress())
		if err == nil && v.announced[addr] == e && !slices.Contains(addrs, addr) {
			next.Announced = append(next.Announced, a)
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	for _, addr := range addrs {
		next.Announced = append(next.Announced, &records.Announced{Address: addr.String(), Version: uint64(at)})
	}
	// The latest stay.
	slices.SortStableFunc(next.GetAnnounced(), func(a, b *records.Announced) int { return cmp.Compare(a.GetVersion(), b.GetVersion()) })
	next.Announced = next.Announced[max(0, len(next.Announced)-records.MaxAnnounced):]
	return next
}

// usable is false for addresses that no endpoint can have.
func (v *vpcRecord) usable(addr netip.Addr) bool {
	_, err := records.CheckAddress(v.prefixes, addr)
	return err == nil
}
