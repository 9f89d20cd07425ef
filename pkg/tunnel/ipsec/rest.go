package ipsec

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/strongswan/govici/vici"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// slumber is how long an IKE SA outlives its last child when a peer rests: the
// other end, which sees it without one, knows by that that nothing is broken.
const slumber = 3 * time.Second

// sleepAge is how long it may be known what charon has when peers are let go by that: they
// may wake, or be called, meanwhile.
const sleepAge = 50 * time.Millisecond

var _ tunnel.Rester = (*driver)(nil)

// Wake implements tunnel.Rester. A conversation that goes on is not begun twice.
func (d *driver) Wake(ctx context.Context, keys ...tunnel.PublicKey) error {
	if d.device.Name == "" {
		return fmt.Errorf("wake peers: %w", errNotUp)
	}
	var begin []tunnel.PublicKey
	for _, key := range keys {
		delete(d.slumbers, key)
		d.woken[key] = d.now()
		if d.now().Sub(d.tried[key]) >= retryAfter { // else it was begun, or refused; rounds go on with it
			begin = append(begin, key)
		}
	}
	return d.each(ctx, "wake peer", begin, snapshotAge, d.wake)
}

// each does something with each of several peers. As all of charon's SAs are listed
// however few are asked for, it reads them once for many peers, and again when that was
// done so long ago. That is since it had its answer: if listing itself takes longer,
// some are done yet by each.
func (d *driver) each(ctx context.Context, what string, keys []tunnel.PublicKey, age time.Duration,
	do func(context.Context, *snapshot, tunnel.PublicKey) error,
) error {
	var s *snapshot
	var answered time.Time
	var problems []error
	for _, key := range keys {
		if s == nil || d.now().Sub(answered) > age {
			var err error
			if s, err = d.read(ctx); err != nil {
				return errors.Join(append(problems, fmt.Errorf("%s: %w", what, err))...)
			}
			answered = d.now()
		}
		if err := do(ctx, s, key); err != nil {
			problems = append(problems, fmt.Errorf("%s at %s: %w", what, s.conns[key].prefix, err))
		}
	}
	return errors.Join(problems...)
}

func (d *driver) wake(ctx context.Context, s *snapshot, key tunnel.PublicKey) error {
	c, known := s.conns[key]
	if !known || !c.endpoint.IsValid() {
		return nil // to be put, or to be waited for
	}
	for _, sa := range s.sas[key] {
		if sa.connecting() || sa.lasts() && sa.newest() != nil {
			return nil
		}
	}
	return d.initiate(ctx, key, c)
}

// initiate begins a conversation, or gives one that goes on a child.
func (d *driver) initiate(ctx context.Context, key tunnel.PublicKey, c conn) error {
	d.tried[key] = d.now()
	m, err := initiation(key, c.child)
	if err != nil {
		return err
	}
	return d.request(ctx, "initiate", m)
}

func initiation(key tunnel.PublicKey, child childName) (*vici.Message, error) {
	m, err := vici.MarshalMessage(map[string]string{"ike": connName(key), "child": child.String(), "timeout": dontWait})
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return m, nil
}

// Sleep implements tunnel.Rester: first the children are ended, and then, when the
// other end has had the time to see that, the IKE SA.
func (d *driver) Sleep(ctx context.Context, keys ...tunnel.PublicKey) error {
	if d.device.Name == "" {
		return fmt.Errorf("let peers sleep: %w", errNotUp)
	}
	// What was seen before may be without a child that the peer has made since, to
	// wake.
	return d.each(ctx, "let peer sleep", keys, sleepAge, d.sleep)
}

func (d *driver) sleep(ctx context.Context, s *snapshot, key tunnel.PublicKey) error {
	before := d.traffic[key]
	if before.lacks(s.sas[key]) { // the peer wakes, which Peers is to tell first
		delete(d.slumbers, key)
		return nil
	}
	if d.traffic.sum(key, s.sas[key]).rx != before.total().rx {
		return nil // the peer sends, since Peers was asked last
	}
	delete(d.served, key) // what is missing from now on is not missed
	var ends []map[string]string
	for _, sa := range s.sas[key] {
		for _, child := range sa.children {
			if child.spiIn == gone { // it is being made, or ended
				continue
			}
			ends = append(ends, map[string]string{"child-id": strconv.FormatUint(uint64(child.id), 10), "timeout": dontWait})
		}
	}
	switch {
	case len(s.sas[key]) == 0:
		delete(d.slumbers, key)
		return nil
	case len(ends) > 0:
		d.slumbers[key] = d.now()
	case d.slumbers[key].IsZero(): // the other end has ended them
		d.slumbers[key] = d.now()
	case d.now().Sub(d.slumbers[key]) >= slumber:
		for _, sa := range s.sas[key] {
			ends = append(ends, map[string]string{"ike-id": strconv.FormatUint(uint64(sa.id), 10), "timeout": dontWait})
		}
	}
	for _, what := range ends {
		if err := d.terminate(ctx, what); err != nil {
			return err
		}
		d.seen = nil
	}
	return nil
}

// isDormant tells whether a peer has ended its children and kept the IKE SA, which
// is how it says that it rests.
func isDormant(sas []ikeSA) bool {
	dormant := false
	for _, sa := range sas {
		if sa.connecting() || len(sa.children) > 0 {
			return false
		}
		dormant = dormant || sa.state == "ESTABLISHED"
	}
	return dormant
}
