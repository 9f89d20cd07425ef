package mesh

import (
	"context"
	"errors"
	"time"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// errBadMessage says that a message decodes, but makes no sense.
var errBadMessage = errors.New("decode message: a part is missing or out of range")

// recentNews is the age up to which news is told on even when it comes in bulk.
const recentNews = time.Minute

// hint says where a record can be had. Its ref is zero if it stands for much.
type hint struct {
	ref
	version Version
	sender  NodeID
}

// decodeHint takes a hint apart.
func decodeHint(h *wire.Hint) (*hint, error) {
	out := &hint{
		ref: ref{Kind(h.GetKind()), h.GetKey()}, version: Version(h.GetVersion()),
		sender: nodeIDFrom(h.GetSender()),
	}
	if !out.sender.Valid() {
		return nil, errBadMessage
	}
	if out.ref != (ref{}) && (!out.kind.known() || checkKey(out.kind, out.key) != nil) {
		return nil, errBadMessage
	}
	return out, nil
}

// told is a gossip message, taken apart: one of its fields is set.
type told struct {
	envelope *wire.Envelope
	hint     *hint
	digest   *digest
	want     *want
}

// decodeGossip takes a gossip message apart.
func decodeGossip(b []byte) (t told, err error) {
	var m wire.Gossip
	if err := wire.Unmarshal(b, &m); err != nil {
		return told{}, err
	}
	switch x := m.GetMessage().(type) {
	case *wire.Gossip_Envelope:
		t.envelope = x.Envelope
	case *wire.Gossip_Hint:
		t.hint, err = decodeHint(x.Hint)
	case *wire.Gossip_Digest:
		t.digest, err = decodeDigest(x.Digest)
	case *wire.Gossip_Want:
		t.want, err = decodeWant(x.Want)
	default:
		err = errBadMessage
	}
	return t, err
}

// runInbox verifies and relays what gossip brings, until ctx ends.
func (s *session) runInbox(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-s.inbox:
			s.receive(s.gather(b))
		}
	}
}

// gather returns b and what else has come.
func (s *session) gather(b []byte) [][]byte {
	batch := [][]byte{b}
	for len(batch) < maxQueued {
		select {
		case b := <-s.inbox:
			batch = append(batch, b)
		default:
			return batch
		}
	}
	return batch
}

// receive takes gossip messages. Records come first: what they bring is not
// asked for again.
func (s *session) receive(batch [][]byte) {
	var envelopes []*wire.Envelope
	var rest []told
	for _, b := range batch {
		t, err := decodeGossip(b)
		switch {
		case err != nil:
			s.m.replica.refusals.count(refuse(refusedMalformed, "%w", err))
		case t.envelope != nil:
			envelopes = append(envelopes, t.envelope)
		default:
			rest = append(rest, t)
		}
	}
	news, strangers := s.m.replica.apply(envelopes)
	if strangers {
		s.requestAnySync() // Someone has the authors' records.
	}
	s.m.learned(news)
	for _, t := range rest {
		switch {
		case t.hint != nil:
			s.follow(t.hint)
		case t.digest != nil:
			s.compareDigest(t.digest)
		case t.want != nil:
			s.answerWant(t.want)
		}
	}
}

// follow asks for what a hint offers, if it is news.
func (s *session) follow(h *hint) {
	if h.sender == s.m.id {
		return
	}
	if h.ref == (ref{}) {
		s.syncer.request(h.sender, nil)
		return
	}
	if e := s.m.replica.table.get(h.ref); e == nil || e.Version < h.version {
		s.syncer.request(h.sender, []ref{h.ref})
	}
}

// learned tells others and the owner of news, and looks whether it is about
// this node itself.
func (m *Mesh) learned(news []*entry) {
	if len(news) == 0 {
		return
	}
	m.mu.RLock()
	s := m.session
	m.mu.RUnlock()
	m.heed(news)
	if s != nil {
		s.relay(news)
		for _, id := range m.replica.strangers.introduced(news) {
			s.syncer.request(id, nil) // It has what was refused before.
		}
	}
	m.pokes.poke()
	for _, e := range news {
		if e.Kind == KindNode && e.Node == m.id {
			// A record of an earlier life, for instance from before the state
			// directory was lost.
			if err := m.ensureSelf(); err != nil {
				m.log.Warn("renew own node record", "err", err)
			}
		}
	}
}
