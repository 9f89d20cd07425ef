package mesh

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// tombstoneLife is how long a deletion is remembered. A node that was away for
// longer may bring a deleted record back.
const tombstoneLife = 24 * time.Hour

// replica is this node's copy of the records: verified, in memory and on disk.
// It knows nothing of the network.
type replica struct {
	log   *slog.Logger
	db    *database
	table *table
	clock *hlc
	// now is the time as times has it.
	now      func() time.Time
	times    *peerTime
	validate func(Record) error
	restamp  func(Record) ([]byte, error)
	refusals refusals
	// shared is nil but in simulations.
	shared *Shared
	// strangers are the authors that were unknown when they were needed.
	strangers strangers

	// self is this node: it keeps what it has said, evicted or not.
	self NodeID
	// forgotten are the node tombstones that were collected here.
	forgotten forgotten
	// lapsed are the nodes that were forgotten because they were dead for long.
	lapsed forgotten

	// commit orders what is written to disk with what is in memory: a local
	// write holds it from its version to the table, a batch of remote ones
	// from the table to the disk.
	commit sync.Mutex
	// anchor is nil while in no mesh. anchorMu is held from the look at it to
	// the table, so that nothing of a mesh that was left gets into the next.
	anchor   *trustAnchor
	anchorMu sync.RWMutex
	// sealed is true after the farewell: nothing may be signed any more. commit
	// guards it.
	sealed bool
	// reserved is the version up to which the clock is on disk.
	reserved Version

	dirtyMu sync.Mutex
	// dirty has the records that are in memory and not yet on disk.
	dirty map[ref]struct{}
	// flush is poked when dirty has something. Its capacity is 1.
	flush chan struct{}
}

// trust returns the authority that is believed, nil in no mesh.
func (r *replica) trust() *trustAnchor {
	r.anchorMu.RLock()
	defer r.anchorMu.RUnlock()
	return r.anchor
}

// setTrust changes the authority that is believed.
func (r *replica) setTrust(a *trustAnchor) {
	r.anchorMu.Lock()
	defer r.anchorMu.Unlock()
	r.anchor = a
}

// begin lets a node that has come into a mesh take and sign its records.
func (r *replica) begin(a *trustAnchor) {
	r.commit.Lock()
	defer r.commit.Unlock()
	r.sealed = false
	r.setTrust(a)
}

// restore takes what was on disk. It was verified before it was written, so
// only what is needed of it later is looked at again.
func (r *replica) restore(records []*entry) error {
	var last Version
	anchor := r.trust()
	for _, e := range records {
		if e.Kind == KindNode {
			if err := e.restore(anchor.mesh); err != nil {
				return err
			}
		}
		r.take(e)
		last = max(last, e.Version)
	}
	for _, e := range r.shared.known() {
		r.take(e)
		last = max(last, e.Version)
	}
	r.table.settle(last) // What it replaced is not known any more.
	// What a crash kept from being removed from the disk goes now.
	for _, e := range r.table.ofKind(KindEviction) {
		r.obey(anchor, e)
	}
	return nil
}

// take takes an entry that was verified before.
func (r *replica) take(e *entry) {
	r.clock.observe(e.Version)
	r.table.put(e)
}

// restore adopts a node record that was verified before.
func (e *entry) restore(mesh ID) error {
	// An expired certificate still says whose signature is good.
	c, err := parseCertificate(e.certificate(), mesh)
	if err == nil {
		err = e.adopt(c)
	}
	if err != nil {
		return fmt.Errorf("restore record of node %s: %w", e.Key, err)
	}
	return nil
}

// put signs a new state of a record, writes it to disk, and only then shows it.
func (r *replica) put(rec Record, in *member, key privateKey) (*entry, error) {
	es, err := r.putAll([]Record{rec}, in, key)
	if err != nil {
		return nil, err
	}
	return es[0], nil
}

// putAll is put for several records: all of them or none.
func (r *replica) putAll(recs []Record, in *member, key privateKey) ([]*entry, error) {
	r.commit.Lock()
	defer r.commit.Unlock()
	return r.signAll(recs, in, key)
}

// putLast is putAll for what a node says last in its mesh. It asks for that
// when nothing else can be signed any more.
func (r *replica) putLast(last func() []Record, in *member, key privateKey) ([]*entry, error) {
	r.commit.Lock()
	defer r.commit.Unlock()
	es, err := r.signAll(last(), in, key)
	r.sealed = err == nil
	return es, err
}

// signAll does what putAll says. commit is held.
func (r *replica) signAll(recs []Record, in *member, key privateKey) ([]*entry, error) {
	if r.sealed || r.trust() != in.trustAnchor {
		return nil, ErrNotInMesh
	}
	author := in.self
	es := make([]*entry, len(recs))
	for i, rec := range recs {
		rec.Version, rec.Node = r.clock.now(), author.id
		e, err := sign(rec, author, key)
		if err != nil {
			return nil, err
		}
		if e.Kind == KindNode {
			if err := e.adopt(author); err != nil {
				return nil, err
			}
		}
		if !r.table.hasRoom(e) {
			return nil, errTooMuch
		}
		es[i] = e
	}
	if err := r.write(es, nil); err != nil {
		return nil, err
	}
	for _, e := range es {
		r.table.put(e)
		r.obey(in.trustAnchor, e)
	}
	return es, nil
}

// write puts entries and the clock on disk, and removes what is gone. commit is
// held.
func (r *replica) write(es []*entry, gone []ref) error {
	last := r.reserved
	err := r.db.Update(func(tx *bbolt.Tx) error {
		for _, e := range es {
			if err := putRecord(tx, e); err != nil {
				return err
			}
			last = max(last, e.Version)
		}
		for _, k := range gone {
			if err := tx.Bucket(bucketRecords).Delete(recordKey(k)); err != nil {
				return err
			}
		}
		return putClock(tx, last)
	})
	if err != nil {
		return fmt.Errorf("write database %s: %w", r.db.Path(), err)
	}
	r.reserved = last
	return nil
}

// version returns a version that will never be given out again, not even after
// a restart.
func (r *replica) version() Version {
	v := r.clock.now()
	r.commit.Lock()
	defer r.commit.Unlock()
	if v <= r.reserved {
		return v
	}
	ahead := v + Version(clockReserve.Milliseconds())<<16
	if err := r.db.Update(func(tx *bbolt.Tx) error { return putClock(tx, ahead) }); err != nil {
		// The wall clock alone keeps order then, as long as nobody sets it back.
		r.log.Warn("write the clock", "err", err)
		return v
	}
	r.reserved = ahead
	return v
}

// apply takes records from nobody knows whom. It returns those that were news, and
// whether some were refused because their author is not known here.
func (r *replica) apply(envelopes []*wire.Envelope) (news []*entry, strangers bool) {
	return r.applyFrom("", envelopes)
}

// applyFrom is apply for records that a node has brought.
func (r *replica) applyFrom(bringer NodeID, envelopes []*wire.Envelope) (news []*entry, strangers bool) {
	anchor := r.trust()
	for _, env := range envelopes {
		e, err := r.admit(anchor, env)
		if err != nil {
			reason := r.refusals.count(blame(err, bringer))
			strangers = strangers || reason == refusedUnknownAuthor
			r.log.Debug("refuse record", "reason", reason, "err", err)
			continue
		}
		if e == nil {
			continue
		}
		if e = r.shared.same(e); !r.accept(anchor, e) {
			continue
		}
		news = append(news, e)
	}
	r.markDirty(news)
	return news, strangers
}

// accept puts a verified entry into the table, unless that is of another mesh by
// now. It tells whether it is news.
func (r *replica) accept(anchor *trustAnchor, e *entry) bool {
	r.anchorMu.RLock()
	defer r.anchorMu.RUnlock()
	if r.anchor != anchor {
		return false
	}
	// The clock first: whoever sees the record must not sign an older version.
	r.clock.observe(e.Version)
	if !r.table.put(e) {
		return false
	}
	if e.Kind == KindNode {
		r.forgotten.remove(e.Node)
		r.lapsed.remove(e.Node)
	}
	r.obey(anchor, e)
	return true
}

// admit verifies an envelope. It returns nil if it is no news.
func (r *replica) admit(anchor *trustAnchor, env *wire.Envelope) (*entry, error) {
	if anchor == nil {
		return nil, ErrNotInMesh
	}
	e, err := newEntry(env)
	if err != nil {
		return nil, err
	}
	// Before the costly part: most of what gossip brings is known already.
	if !e.newer(r.table.get(e.ref())) || r.outlived(e) || r.done(e) || r.isLapsed(e) {
		return nil, nil // No news is no error.
	}
	if e.Version > versionAt(r.times.admits().Add(maxClockAhead)) {
		return nil, refuse(refusedFuture, "%s is ahead of the time", e.Version.Time().UTC())
	}
	author, err := r.author(anchor, e)
	if err != nil {
		return nil, err
	}
	if !e.signedBy(author.key) {
		return nil, refuse(refusedSignature, "it is not the signature of %s", author.id)
	}
	if owner(e.Kind, e.Key) == "" && !author.isAuthority() {
		return nil, refuseOf(author.id, refusedAuthor, "%s is not an authority", author.id)
	}
	if !r.table.hasRoom(e) {
		return nil, refuseOf(author.id, refusedQuota, "%w", errTooMuch)
	}
	if e.Kind == KindNode {
		if err := e.adopt(author); err != nil {
			return nil, refuseOf(author.id, refusedPayload, "%w", err)
		}
		return e, nil
	}
	if err := r.check(anchor, e); err != nil {
		return nil, err
	}
	return e, nil
}

// check looks into the payload of a record that is no node's.
func (r *replica) check(anchor *trustAnchor, e *entry) error {
	switch {
	case e.Kind == KindEviction:
		if err := anchor.checkEviction(e); err != nil {
			return refuseOf(e.Node, refusedPayload, "%w", err)
		}
	case e.Kind == KindGossipKey:
		if _, err := decodeGossipKey(e.Payload); err != nil {
			return refuseOf(e.Node, refusedPayload, "%w", err)
		}
	case !e.Deleted && r.validate != nil:
		if err := r.validate(e.Record); err != nil {
			return refuseOf(e.Node, refusedPayload, "%w", err)
		}
	}
	return nil
}

// author returns the verified author of an entry.
func (r *replica) author(anchor *trustAnchor, e *entry) (*credential, error) {
	der := e.certificate()
	if e.Kind != KindNode {
		if r.table.get(ref{KindNode, string(e.Node)}) == nil && !r.evicts(anchor, e.Node) {
			r.strangers.add(e.Node)
		}
		return r.credentialOf(anchor, e.Node)
	}
	c, err := anchor.trustsDER(der, r.now())
	if errors.Is(err, ErrEvicted) {
		return nil, refuse(refusedEvicted, "%s", c.id)
	}
	if err != nil {
		return nil, refuse(refusedCertificate, "%w", err)
	}
	if string(c.id) != e.Key {
		return nil, refuse(refusedCertificate, "it is that of %s", c.id)
	}
	return c, nil
}

// credentialOf returns the credential of a node that is known, or has been.
func (r *replica) credentialOf(anchor *trustAnchor, id NodeID) (*credential, error) {
	if r.evicts(anchor, id) {
		return nil, refuse(refusedEvicted, "%s", id)
	}
	known := r.table.get(ref{KindNode, string(id)})
	if known == nil {
		return nil, refuse(refusedUnknownAuthor, "%s", id)
	}
	if now := r.now(); !known.credential().validAt(now) {
		return nil, refuse(refusedCertificate, "that of %s is not valid at %s", id, now.UTC())
	}
	return known.credential(), nil
}

// adopt keeps what a node record's verified certificate and payload say.
func (e *entry) adopt(c *credential) error {
	adopted := &author{credential: c}
	if !e.Deleted {
		info, err := decodeNodeInfo(e.Payload)
		if err != nil {
			return err
		}
		if info.name != c.name {
			return fmt.Errorf("check node record: it says the name %q, its certificate %q", info.name, c.name)
		}
		adopted.info = info
	}
	e.author = adopted
	return nil
}

// outlived tells whether a tombstone, or an eviction, is to be forgotten. Those of nodes stay
// for as long as there is something that they have signed: their certificates
// are needed to verify it.
func (r *replica) outlived(e *entry) bool {
	if e.Kind == KindEviction {
		return e.Version < versionAt(r.now().Add(-evictionLife))
	}
	if !e.Deleted || e.Version >= versionAt(r.now().Add(-tombstoneLife)) {
		return false
	}
	if e.Kind != KindNode {
		return true
	}
	return r.table.get(e.ref()) == e && r.table.authoredBy(e.Node) <= 1
}

// done tells whether e is a node's tombstone that was forgotten here before.
// Where others still have it, it would come back from them, and from here to
// those who forget it later, for ever. It is taken again if it is needed to
// verify something.
func (r *replica) done(e *entry) bool {
	return e.Kind == KindNode && e.Deleted && r.forgotten.has(e.Node, e.Version) && !r.strangers.has(e.Node)
}

// collect forgets old tombstones and returns how many.
func (r *replica) collect() (int, error) {
	r.commit.Lock()
	defer r.commit.Unlock()
	old := r.table.entries(func(e *entry) bool {
		return (e.Deleted || e.Kind == KindEviction) && e.Version < versionAt(r.now().Add(-tombstoneLife))
	})
	var gone []*entry
	for _, e := range old {
		if r.outlived(e) {
			gone = append(gone, e)
		}
	}
	if len(gone) == 0 {
		return 0, nil
	}
	err := r.db.Update(func(tx *bbolt.Tx) error {
		for _, e := range gone {
			err := tx.Bucket(bucketRecords).Delete(recordKey(e.ref()))
			if e.Kind == KindNode {
				err = errors.Join(err, freeName(tx, e.Key, r.now()))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("write database %s: %w", r.db.Path(), err)
	}
	for _, e := range gone {
		if e.Kind == KindNode {
			r.forgotten.add(e.Node, e.Version)
		}
		r.table.remove(e)
		r.unevict(e)
	}
	return len(gone), nil
}
