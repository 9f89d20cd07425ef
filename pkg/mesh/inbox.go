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

// decodeGossip takes a gossip message apart: either an envelope or a hint.
func decodeGossip(b []byte) (*wire.Envelope, *hint, error) {
	var m wire.Gossip
	if err := wire.Unmarshal(b, &m); err != nil {
		return nil, nil, err
	}
	if env := m.GetEnvelope(); env != nil {
		return env, nil, nil
	}
	h := m.GetHint()
	if h == nil {
		return nil, nil, errBadMessage
	}
	out := &hint{
		ref: ref{Kind(h.GetKind()), h.GetKey()}, version: Version(h.GetVersion()),
		sender: nodeIDFrom(h.GetSender()),
	}
	if !out.sender.Valid() {
		return nil, nil, errBadMessage
	}
	if out.ref != (ref{}) && (!out.kind.known() || checkKey(out.kind, out.key) != nil) {
		return nil, nil, errBadMessage
	}
	return nil, out, nil
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

// receive takes gossip messages.
func (s *session) receive(batch [][]byte) {
	var envelopes []*wire.Envelope
	for _, b := range batch {
		env, h, err := decodeGossip(b)
		switch {
		case err != nil:
			s.m.replica.refusals.count(refuse(refusedMalformed, "%w", err))
		case env != nil:
			envelopes = append(envelopes, env)
		default:
			s.follow(h)
		}
	}
	news, strangers := s.m.replica.apply(envelopes)
	if strangers {
		s.requestAnySync() // Someone has the authors' records.
	}
	s.m.learned(news)
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
