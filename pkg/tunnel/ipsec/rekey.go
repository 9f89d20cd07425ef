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

const (
	// rekeyTries is how often an IKE SA is asked for new keys: its peer may have
	// replaced it by another in this moment.
	rekeyTries = 10
	// rekeyPause is the time between two tries.
	rekeyPause = 100 * time.Millisecond
	// rekeyAgain is how long old keys may stay in use before they are asked to be
	// replaced once more.
	rekeyAgain = 2 * time.Second
)

// Rekey begins to replace the keys of all SAs, by new key exchanges in those that
// there are: first of each IKE SA, then of its children. It returns the IKE SAs
// whose keys are to be replaced; see Old.
func (d *driver) Rekey(ctx context.Context) ([]Rekeying, error) {
	if d.device.Name == "" {
		return nil, nil
	}
	defer func() { d.seen = nil }()
	var begun []Rekeying
	done := map[tunnel.PublicKey]bool{}
	for try := 1; ; try++ {
		s, err := d.read(ctx)
		if err != nil {
			return begun, fmt.Errorf("rekey: %w", err)
		}
		more, err := d.rekeyAll(ctx, s, done)
		begun = append(begun, more...)
		if err == nil || try == rekeyTries {
			return begun, err
		}
		select {
		case <-ctx.Done():
			return begun, ctx.Err()
		case <-time.After(rekeyPause):
		}
	}
}

// rekeyAll begins with the peers that are not done.
func (d *driver) rekeyAll(ctx context.Context, s *snapshot, done map[tunnel.PublicKey]bool) ([]Rekeying, error) {
	var begun []Rekeying
	var problems []error
	for key, sas := range s.sas {
		c, there := s.conns[key]
		if !there || done[key] || len(sas) == 0 {
			continue
		}
		failed := fmt.Errorf("rekey SAs with %s: none of them carries packets", c.prefix)
		for _, sa := range sas {
			if !sa.lasts() || sa.newest() == nil {
				continue
			}
			if err := d.rekey(ctx, sa, c); err != nil {
				failed = fmt.Errorf("rekey SAs with %s: %w", c.prefix, err)
				continue
			}
			begun = append(begun, rekeying(key, sa, d.now()))
			done[key] = true
		}
		if !done[key] {
			problems = append(problems, failed)
		}
	}
	return begun, errors.Join(problems...)
}

// rekey asks for the replacement of an IKE SA's keys, and then of its children's.
// charon does one after the other; a child goes over to the new IKE SA.
func (d *driver) rekey(ctx context.Context, sa ikeSA, c conn) error {
	return d.talk(ctx, func(s *vici.Session) error {
		for _, what := range []map[string]string{
			{"ike-id": strconv.FormatUint(uint64(sa.id), 10)},
			{"child": c.child.String()},
		} {
			m, err := vici.MarshalMessage(what)
			if err != nil {
				return fmt.Errorf("encode request: %w", err)
			}
			if _, err := s.CommandRequest("rekey", m); err != nil {
				return fmt.Errorf("rekey: %w", err)
			}
		}
		return nil
	})
}

// Rekeying is an IKE SA whose keys are to be replaced, with its children.
type Rekeying struct {
	peer tunnel.PublicKey
	id   uint32
	// asked is when that was asked for last.
	asked time.Time
	spis  map[uint32]bool // inbound, of its children
}

func rekeying(key tunnel.PublicKey, sa ikeSA, now time.Time) Rekeying {
	out := Rekeying{peer: key, id: sa.id, asked: now, spis: map[uint32]bool{}}
	for _, c := range sa.children {
		out.spis[c.spiIn] = true
	}
	return out
}

// Old returns those of begun whose keys are still in use. Those that have been for a
// while are asked for again: of two ends that begin at once one gives way.
func (d *driver) Old(ctx context.Context, begun []Rekeying) ([]Rekeying, error) {
	s, err := d.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for old keys: %w", err)
	}
	var old []Rekeying
	for _, r := range begun {
		sa := r.serving(s.sas[r.peer])
		if sa == nil {
			continue
		}
		if d.now().Sub(r.asked) >= rekeyAgain {
			r.asked = d.now()
			if err := d.rekey(ctx, *sa, s.conns[r.peer]); err != nil {
				d.log.Debug("keys are not replaced", "device", d.device.Name, "err", err)
			}
		}
		old = append(old, r)
	}
	return old, nil
}

// serving is the IKE SA that has old keys, or by whose children packets still go with
// old ones; nil if there is none.
func (r Rekeying) serving(sas []ikeSA) *ikeSA {
	for i, sa := range sas {
		if !sa.lasts() {
			continue
		}
		if c := sa.newest(); sa.id == r.id || c != nil && r.spis[c.spiIn] {
			return &sas[i]
		}
	}
	return nil
}
