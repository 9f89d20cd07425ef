package mesh

import (
	"bytes"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// lifeSigns returns one message of each kind, and the node and key that they are
// by.
func lifeSigns(tb testing.TB) ([][]byte, privateKey, NodeID) {
	tb.Helper()
	key, err := newKey(tb.TempDir() + "/key")
	if err != nil {
		tb.Fatal(err)
	}
	id, err := idOf(key.public())
	if err != nil {
		tb.Fatal(err)
	}
	other := NodeID("0123456789abcdef0123456789abcdef01234567")
	own := newBeat(NodeID(id), moment{7, 1500}, key)
	last := newBeat(other, moment{8, 0}, key)
	var out [][]byte
	for _, encode := range []func() ([]byte, error){
		func() ([]byte, error) { return encodeBeat(own) },
		func() ([]byte, error) { return encodeHeard(own) },
		func() ([]byte, error) { return encodeAsk(other) },
		func() ([]byte, error) {
			return encodeSilence(newSilence(NodeID(id), last, time.Second, moment{7, 9}, key))
		},
	} {
		b, err := encode()
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, b)
	}
	return out, key, NodeID(id)
}

// encode makes the message again.
func (m lifeSign) encode() ([]byte, error) {
	switch {
	case m.beat != nil:
		return encodeBeat(m.beat)
	case m.heard != nil:
		return encodeHeard(m.heard)
	case m.silence != nil:
		return encodeSilence(m.silence)
	default:
		return encodeAsk(m.ask)
	}
}

// Signs of life fit into a packet, are known by their first byte, and have one
// form; what is signed holds for what is said, and for nothing else.
func TestSignsOfLifeAreSigned(t *testing.T) {
	all, key, id := lifeSigns(t)
	for _, b := range all {
		if !aboutLife(b) || len(b) > maxGossip/4 {
			t.Errorf("%x: %d bytes, about life: %t", b, len(b), aboutLife(b))
		}
		if _, err := decodeSign(b[:len(b)-1]); err == nil {
			t.Errorf("%x: a part of it is taken", b)
		}
		if _, err := decodeSign(append(bytes.Clone(b), 0x18, 1)); err == nil {
			t.Errorf("%x: more than it is taken", b)
		}
	}
	hint, err := encodeHint(nil, id)
	if err != nil || aboutLife(hint) || aboutLife(nil) {
		t.Errorf("a hint is about life, or %v", err)
	}
	m, err := decodeSign(all[3])
	if err != nil || !m.silence.signedBy(key.public()) || !m.silence.beat.signedBy(key.public()) {
		t.Fatalf("%+v, %v", m, err)
	}
	for what, change := range map[string]func(*silence){
		"witness":       func(s *silence) { s.witness = s.beat.node },
		"node":          func(s *silence) { s.beat.node = id },
		"beat's start":  func(s *silence) { s.beat.start++ },
		"beat's moment": func(s *silence) { s.beat.at++ },
		"silence":       func(s *silence) { s.silent += time.Millisecond },
		"start":         func(s *silence) { s.start++ },
		"moment":        func(s *silence) { s.at++ },
	} {
		again, err := decodeSign(all[3])
		if err != nil {
			t.Fatal(err)
		}
		if change(again.silence); again.silence.signedBy(key.public()) {
			t.Errorf("with another %s it is still signed", what)
		}
	}
	b, err := decodeSign(all[0])
	if err != nil || !b.beat.signedBy(key.public()) {
		t.Fatalf("%+v, %v", b, err)
	}
	if b.beat.at++; b.beat.signedBy(key.public()) {
		t.Error("a beat of another moment is still signed")
	}
}

func FuzzLifeSign(f *testing.F) {
	all, _, id := lifeSigns(f)
	for _, b := range all {
		f.Add(b)
	}
	far, err := wire.Marshal(&wire.Gossip{Message: &wire.Gossip_Beat{Beat: &wire.Beat{
		Node: id.bytes(), Start: 1<<64 - 1, At: 1<<64 - 1, Signature: make([]byte, 64),
	}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(far)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeSign(b)
		if err != nil {
			return
		}
		if !aboutLife(b) {
			t.Errorf("%x does not look like what it is", b)
		}
		if again, err := m.encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x became %x, %v", b, again, err)
		}
		if s := m.silence; s != nil && (s.silent > maxSilent || s.over().at < s.beat.at || s.witness == s.beat.node) {
			t.Errorf("took %+v", s)
		}
	})
}
