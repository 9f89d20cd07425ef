package ipsec

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/strongswan/govici/vici"

	"edgenet.dev/edgenet/pkg/tunnel"
)

const (
	// freshAge is how long after the start of its charon a node begins
	// conversations with all peers: they may still believe in SAs that it has no
	// more.
	freshAge = 10 * time.Second
	// patience is how long the node with the higher prefix waits for the other
	// one to begin, which may be unable to.
	patience = 3 * time.Second
	// retryAfter keeps attempts apart; charon itself tries on for 32 s when
	// nobody answers.
	retryAfter = 2 * time.Second
	// settle is how old a child SA is when it may be relied on: the peer has had
	// the time to install its half.
	settle = time.Second
	// linger is how old it is when the node with the higher prefix too ends what
	// it replaced: the other one may not know of it any more.
	linger = 5 * time.Second
	// terminateTimeout is how long a peer has to agree to the end of its SAs, in
	// milliseconds.
	terminateTimeout = "200"
	// dontWait lets a request return at once.
	dontWait = "-1"
)

// move remembers which IKE SAs are to be replaced, unless one leads to the new
// endpoint already.
func (d *driver) move(s *snapshot, want tunnel.Peer) {
	old := make(map[uint32]bool)
	for _, sa := range s.sas[want.PublicKey] {
		if sa.remote != want.Endpoint {
			old[sa.id] = true
		}
	}
	d.moved[want.PublicKey] = old
	delete(d.tried, want.PublicKey)
	delete(d.alone, want.PublicKey)
}

// converse begins the conversation with a peer if it is this node's turn, and
// ends what is too much of it.
func (d *driver) converse(ctx context.Context, s *snapshot, key tunnel.PublicKey) error {
	c := s.conns[key]
	d.forgetMoved(s, key)
	if d.turn(key, c).isDoubled(s.sas[key]) {
		d.log.Warn("an IKE SA has several children; another is made", "device", d.device.Name, "prefix", c.prefix)
		d.supersede(key, s.sas[key])
	}
	next := d.turn(key, c).decide(s.sas[key])
	if next.reached {
		delete(d.alone, key)
	} else if d.alone[key].IsZero() {
		d.alone[key] = d.now()
	}
	d.noteLoss(key, c.prefix, s.sas[key])
	for _, id := range next.end {
		d.log.Debug("superfluous IKE SA is ended", "device", d.device.Name, "prefix", c.prefix)
		if err := d.terminate(ctx, map[string]string{"ike-id": strconv.FormatUint(uint64(id), 10), "timeout": dontWait}); err != nil {
			return err
		}
		d.seen = nil
	}
	if !next.begin {
		return nil
	}
	return d.initiate(ctx, key, c)
}

// noteLoss says when all SAs are gone by which packets could go, without others
// having taken their place: those that replace an IKE SA have its children, and those
// that replace a child its IKE SA.
func (d *driver) noteLoss(key tunnel.PublicKey, prefix netip.Prefix, sas []ikeSA) {
	now := make(map[saID]bool)
	for _, sa := range sas {
		if sa.newest() == nil || !sa.lasts() {
			continue
		}
		now[saID{ike: true, value: sa.id}] = true
		for _, child := range sa.children {
			now[saID{value: child.spiIn}] = true
		}
	}
	before := d.served[key]
	d.served[key] = now
	if len(before) == 0 || len(d.moved[key]) > 0 {
		return
	}
	for id := range before {
		if now[id] {
			return
		}
	}
	d.log.Warn("SAs to a peer are gone; others are made", "device", d.device.Name, "prefix", prefix)
}

// forgetMoved drops those IKE SAs that are gone from what is to be replaced.
func (d *driver) forgetMoved(s *snapshot, key tunnel.PublicKey) {
	there := make(map[uint32]bool)
	for _, sa := range s.sas[key] {
		if d.moved[key][sa.id] {
			there[sa.id] = true
		}
	}
	if len(there) == 0 {
		delete(d.moved, key)
		return
	}
	d.moved[key] = there
}

// turn is what is known when it is decided whether to begin a conversation.
type turn struct {
	// lower: this node's prefix is lower than the peer's.
	lower bool
	// fresh: this node's charon was started lately.
	fresh bool
	// moved are the IKE SAs that are to be replaced.
	moved map[uint32]bool
	// alone is since when there is no SA, tried when it was attempted last.
	alone, tried time.Time
	// woken is when a packet was there for a peer that rested.
	woken time.Time
	// renewed is when its SAs were last found to be broken.
	renewed time.Time
	// can: it is known where the peer is.
	can bool
	now time.Time
}

// step is what to do next.
type step struct {
	// reached: a child SA carries packets.
	reached bool
	begin   bool
	// end are IKE SAs that others have replaced.
	end []uint32
}

// turn is what is known of a peer.
func (d *driver) turn(key tunnel.PublicKey, c conn) turn {
	return turn{
		lower: d.device.Address.Less(c.prefix.Addr()),
		fresh: !d.started.IsZero() && d.now().Sub(d.started) < freshAge,
		moved: d.moved[key],
		alone: d.alone[key],
		tried: d.tried[key],
		woken: d.woken[key],
		can:   c.endpoint.IsValid(),
		now:   d.now(),

		renewed: d.renewed[key],
	}
}

func (t turn) decide(sas []ikeSA) step {
	var next step
	var best uint32         // the newest IKE SA that can be relied on
	var installed time.Time // its child
	busy := false
	for _, sa := range sas {
		if t.moved[sa.id] {
			continue
		}
		busy = busy || sa.connecting()
		child := sa.newest()
		if !sa.lasts() || child == nil {
			continue
		}
		next.reached = true
		if sa.id > best && t.now.Sub(child.installed) >= settle {
			best, installed = sa.id, child.installed
		}
	}
	for _, sa := range sas {
		// One end decides which of several is the one too many, if it can.
		decides := t.lower || t.moved[sa.id] || t.now.Sub(installed) >= linger
		if best != 0 && sa.id < best && sa.lasts() && decides {
			next.end = append(next.end, sa.id)
		}
	}
	ours := t.lower || t.fresh || len(t.moved) > 0 || t.now.Sub(t.woken) < patience || !t.alone.IsZero() && t.now.Sub(t.alone) >= patience
	next.begin = t.can && ours && !next.reached && !busy && t.now.Sub(t.tried) >= retryAfter
	return next
}

// terminate ends SAs; that there are none is no error.
func (d *driver) terminate(ctx context.Context, what map[string]string) error {
	m, err := vici.MarshalMessage(what)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	return d.talk(ctx, func(s *vici.Session) error {
		// Charon says in words why it did nothing: nothing was there, or the peer
		// did not answer in time, and then it is ended all the same.
		if _, err := s.CommandRequest("terminate", m); err != nil {
			d.log.Debug("charon answers to terminate", "answer", err)
		}
		return nil
	})
}
