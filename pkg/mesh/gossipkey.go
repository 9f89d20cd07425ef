package mesh

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

const (
	// keyRetry is the mean wait before others are asked again for a key that this
	// node has no copy of, keyTimeout what one of them may take.
	keyRetry   = 2 * time.Second
	keyTimeout = 3 * time.Second
	// keyAsked is how many are asked at a time.
	keyAsked = 3
	// keyPatience is how long it may take before that is a problem.
	keyPatience = 15 * time.Second
)

// RotateGossipKey replaces the gossip key of the mesh, and returns how often that
// was done. Each node gets it sealed to its own key, and takes what was encrypted
// with the key before for another ten minutes. Only an authority can. Errors wrap
// ErrNotInMesh or ErrNotAuthority.
func (m *Mesh) RotateGossipKey(ctx context.Context) (generation uint64, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("rotate gossip key: %w", err)
		}
	}()
	m.trusting.Lock()
	defer m.trusting.Unlock()
	in, err := m.signer(ctx)
	if err != nil {
		return 0, err
	}
	rec, err := m.nextGossipKey(in, "")
	if err != nil {
		return 0, err
	}
	es, err := m.replica.putAll([]Record{rec}, in, m.key)
	if err != nil {
		return 0, err
	}
	m.publish(es)
	return m.generation(), nil
}

// generation is how often the key was replaced.
func (m *Mesh) generation() uint64 {
	e := m.replica.table.get(ref{KindGossipKey, GossipKeyKey})
	if e == nil {
		return 0
	}
	note, err := decodeGossipKey(e.Payload)
	if err != nil {
		return 0 // It was checked before it got here.
	}
	return note.GetGeneration()
}

// GossipKeyProblem says that this node has not the newest gossip key, though it knows
// for a while that there is one: others will soon not understand it.
func (m *Mesh) GossipKeyProblem() error {
	in, e := m.current(), m.replica.table.get(ref{KindGossipKey, GossipKeyKey})
	if in == nil || e == nil || e.Version <= in.keys.newest() || in.evictions.refuse(in.self) {
		return nil
	}
	since := m.replica.now().Sub(e.Version.Time())
	if since < keyPatience {
		return nil
	}
	return fmt.Errorf("the gossip key was replaced %s ago and this node has no copy of the new one: it asks the others for it, at their peer port", since.Round(time.Second))
}

// nextGossipKey makes a key and seals it to all nodes but one that is being
// evicted; "" is none.
func (m *Mesh) nextGossipKey(in *member, evicted NodeID) (Record, error) {
	key := secret{bytes: make([]byte, gossipKeySize)}
	if _, err := crand.Read(key.bytes); err != nil {
		return Record{}, fmt.Errorf("make gossip key: %w", err)
	}
	note := &wire.GossipKey{Generation: m.generation() + 1, Check: checkOf(key), Eviction: evicted != ""}
	var to []*credential
	for _, e := range m.replica.table.ofKind(KindNode) {
		if c := e.credential(); !e.Deleted && c.id != evicted && c.validAt(m.cfg.now()) && !in.evictions.refuse(c) {
			to = append(to, c)
		}
	}
	var left []NodeID
	if note.Copies, left = sealTo(key, in.mesh, to); len(left) > 0 {
		m.log.Warn("nodes get no copy of the gossip key, and have to ask for it", "count", len(left), "first", left[0])
	}
	payload, err := wire.Marshal(note)
	if err != nil {
		return Record{}, err
	}
	return Record{Kind: KindGossipKey, Key: GossipKeyKey, Payload: payload}, nil
}

// runKeys keeps the gossip keys as the record and their times say, until ctx ends.
func (s *session) runKeys(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.rekey:
		case <-timer.C:
		}
		lacking := s.takeKey()
		if lacking != nil {
			s.askKey(ctx, lacking)
		}
		timer.Reset(s.turnKeys(lacking != nil && s.in.keys.newest() < lacking.Version))
	}
}

// takeKey opens this node's copy of a key that is news. It returns the record if
// there is none, or not a good one.
func (s *session) takeKey() *entry {
	e := s.m.replica.table.get(ref{KindGossipKey, GossipKeyKey})
	if e == nil || e.Version <= s.in.keys.newest() || s.in.evictions.refuse(s.in.self) {
		return nil
	}
	note, err := decodeGossipKey(e.Payload)
	if err != nil {
		return nil // It was checked before it got here.
	}
	key, err := s.m.key.openCopy(note, s.in.mesh, s.m.id)
	if err != nil {
		s.log.Info("the gossip key has to be asked for", "generation", note.GetGeneration(), "err", err)
		return e
	}
	s.install(key, e, note)
	return nil
}

// install begins to go over to a key.
func (s *session) install(key secret, e *entry, note *wire.GossipKey) {
	by := plannedOverlap
	if note.GetEviction() {
		by = evictionOverlap
	}
	if s.in.keys.install(key, e.Version, s.m.cfg.now(), by) {
		s.log.Info("gossip key is replaced", "generation", note.GetGeneration(), "by", e.Node, "eviction", note.GetEviction())
		s.m.keepKeys(s.in)
	}
}

// turnKeys makes memberlist use the keys as their times say, and returns when to
// look again.
func (s *session) turnKeys(lacking bool) time.Duration {
	now := s.m.cfg.now()
	if s.in.keys.expire(now) {
		s.m.keepKeys(s.in)
	}
	if err := s.in.keys.turn(s.ring, now); err != nil {
		s.log.Warn("change gossip keys", "err", err)
	}
	wait := time.Hour
	if next := s.in.keys.next(now); !next.IsZero() {
		wait = min(wait, next.Sub(now))
	}
	if lacking {
		wait = min(wait, jitter(keyRetry))
	}
	return wait
}

// askKey asks others for the key of a record: its author, then some that are
// there. It is the right one if the record says so.
func (s *session) askKey(ctx context.Context, e *entry) {
	note, err := decodeGossipKey(e.Payload)
	if err != nil {
		return // It was checked before it got here.
	}
	ids := []NodeID{e.Node}
	alive := s.peers(StateAlive)
	if len(alive) == 0 { // By the key before it sees nobody: the others may be there.
		alive = append(s.peers(StateSuspect), s.peers(StateDead)...)
	}
	rand.Shuffle(len(alive), func(i, j int) { alive[i], alive[j] = alive[j], alive[i] })
	for _, n := range alive[:min(len(alive), keyAsked-1)] {
		ids = append(ids, n.ID)
	}
	for _, id := range ids {
		if id == s.m.id {
			continue
		}
		key, err := s.m.askKeyOf(ctx, id, note.GetCheck())
		if err == nil {
			s.install(key, e, note)
			return
		}
		s.log.Debug("ask for the gossip key", "node", id, "err", err)
	}
}

// askKeyOf asks one node for the key with a check.
func (m *Mesh) askKeyOf(ctx context.Context, id NodeID, check []byte) (secret, error) {
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	var answer wire.KeyResponse
	if err := m.callPeer(ctx, PeerURL(id)+pathKeys, &wire.KeyRequest{}, maxKeyAnswer, &answer); err != nil {
		return secret{}, err
	}
	if err := checkOffer(answer.GetKeys()); err != nil {
		return secret{}, err
	}
	for _, o := range answer.GetKeys() {
		if key := (secret{bytes: o.GetKey()}); bytes.Equal(checkOf(key), check) {
			return key, nil
		}
	}
	return secret{}, fmt.Errorf("ask for the gossip key: %w", errNoGossipKey)
}

// serveKeys gives a node of the mesh the gossip keys: it may have them, and would
// have a copy if the authority had known it.
func (m *Mesh) serveKeys(w http.ResponseWriter, r *http.Request) {
	var req wire.KeyRequest
	if !readMessage(w, r, maxKeyBody, &req) {
		return
	}
	in := m.current()
	if in == nil {
		writeRefusal(w, http.StatusServiceUnavailable, "not_in_mesh", ErrNotInMesh)
		return
	}
	writeMessage(w, &wire.KeyResponse{Keys: in.keys.offer(m.cfg.now())})
}

// keepKeys writes the gossip keys down. What could not be written is had again
// from the record, or from others.
func (m *Mesh) keepKeys(in *member) {
	err := m.amend(in, func(stored *wire.Membership) { stored.GossipKeys = in.keys.held() })
	if err != nil {
		m.log.Warn("write gossip keys", "err", err)
	}
}
