package mesh

import (
	"fmt"
	"slices"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// keep remembers all that is true now.
func keep(l *liar, _ *liarOrder) error {
	for _, e := range l.replica.table.entries(func(*entry) bool { return true }) {
		l.kept = append(l.kept, e.envelope())
	}
	return nil
}

// replay says again all that was true once, and what is true now.
func replay(l *liar, _ *liarOrder) error {
	if len(l.kept) == 0 {
		return fmt.Errorf("replay: nothing was kept")
	}
	old := 0
	for _, env := range l.kept {
		if e, err := newEntry(env); err == nil && e.before(summaryOf(l.replica.table.get(e.ref()))) {
			old++
		}
	}
	if old == 0 {
		return fmt.Errorf("replay: all that was kept is still true")
	}
	return l.tell(l.kept...)
}

func summaryOf(e *entry) *wire.Summary {
	return &wire.Summary{Kind: string(e.Kind), Key: e.Key, Version: uint64(e.Version), Signature: e.hash}
}

// lieByChange changes one bit of what others have signed.
func lieByChange(l *liar, _ *liarOrder) error {
	var envelopes []*wire.Envelope
	for _, e := range l.replica.table.entries(func(e *entry) bool { return e.Node != l.id }) {
		body, err := bodyOf(e)
		if err != nil {
			return err
		}
		body.Version++
		b, err := wire.Marshal(body)
		if err != nil {
			return err
		}
		signature := slices.Clone(e.signature[:])
		envelopes = append(envelopes, &wire.Envelope{Body: b, Signature: signature})
		flipped := slices.Clone(signature)
		flipped[40] ^= 1
		envelopes = append(envelopes, &wire.Envelope{Body: b, Signature: flipped})
	}
	return l.tell(envelopes...)
}

// lieInForms signs its own record in forms that are not the one, cut short, with
// signatures of other lengths, and with bodies that are none.
func lieInForms(l *liar, _ *liarOrder) error {
	e := l.replica.table.get(ref{KindNode, string(l.id)})
	body, err := bodyOf(e)
	if err != nil {
		return err
	}
	body.Version = uint64(l.replica.clock.now())
	b, err := wire.Marshal(body)
	if err != nil {
		return err
	}
	me := &node{key: l.key}
	var envelopes []*wire.Envelope
	for _, form := range [][]byte{
		append(slices.Clone(b), 0x78, 1), append(slices.Clone(b), b...), b[:len(b)-1], b[:1], {}, {0xff, 0xff, 0xff, 0xff},
	} {
		envelopes = append(envelopes, me.sign(form))
	}
	whole := me.sign(b)
	envelopes = append(envelopes,
		&wire.Envelope{Body: b}, &wire.Envelope{Body: b, Signature: whole.GetSignature()[:63]},
		&wire.Envelope{Body: b, Signature: append(slices.Clone(whole.GetSignature()), 0)})
	unknown := l.body("weather", "sunny", nil)
	badKey := l.body(KindEndpoint, string(l.id)+"/0/x", nil)
	big := l.body(KindEndpoint, string(l.id)+"/1/x", make([]byte, MaxPayload+1))
	for _, wrong := range []*wire.Body{unknown, badKey, big} {
		env, err := l.sign(wrong)
		if err != nil {
			return err
		}
		envelopes = append(envelopes, env)
	}
	return l.tell(envelopes...)
}
