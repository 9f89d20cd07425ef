package mesh

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

const (
	// evictionByMesh ends the key of an eviction that the mesh's key approves of. It
	// is a record of its own, so that nobody without that key can write over it.
	evictionByMesh = "/mesh"
	// evictionLife is how long an eviction is remembered: longer than a certificate
	// lives that was made at the same time by somebody who had not heard of it yet.
	evictionLife = MaxCertificateLife + 35*24*time.Hour
	// evictionDomain keeps an approval from meaning anything else.
	evictionDomain = "edgenet eviction v1\x00"
	// orphanLife is how long what an evicted authority signed is still in force
	// here, while it waits to be signed by another.
	orphanLife = time.Minute
)

// evictedNode is what is known of the eviction of one node.
type evictedNode struct {
	name string
	// by is the author of the eviction that needs no approval, "" if there is none.
	by NodeID
	// approved is true if the mesh's key says so.
	approved bool
	// at is the time that the newer record of the two has, learned when the first
	// was heard of here.
	at, learned time.Time
}

// evictions are the nodes that were taken out. It may be used by several
// goroutines.
type evictions struct {
	mu    sync.RWMutex
	nodes map[NodeID]evictedNode
}

func newEvictions() *evictions { return &evictions{nodes: make(map[NodeID]evictedNode)} }

// evictionOf takes the key of an eviction apart.
func evictionOf(key string) (id NodeID, approved bool) {
	text, approved := strings.CutSuffix(key, evictionByMesh)
	return NodeID(text), approved
}

// add takes an eviction that was verified.
func (v *evictions) add(e *entry, now time.Time) {
	note, err := decodeEviction(e.Payload)
	if err != nil {
		return // It was checked before it got here.
	}
	id, approved := evictionOf(e.Key)
	v.mu.Lock()
	defer v.mu.Unlock()
	one, known := v.nodes[id]
	if !known {
		one.learned = now
	}
	one.name = note.GetName()
	if at := e.Version.Time(); at.After(one.at) {
		one.at = at
	}
	if approved {
		one.approved = true
	} else {
		one.by = e.Node
	}
	v.nodes[id] = one
}

// forget drops what is known of a node's eviction: no certificate of that node can
// be valid any more.
func (v *evictions) forget(id NodeID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.nodes, id)
}

// refuse tells whether a certificate is that of an evicted node. What an authority
// says of another does not count: of two that evict each other neither must win,
// least of all the stolen one. It takes the mesh's key to evict an authority, and
// what one said before that ends with it.
func (v *evictions) refuse(c *credential) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.inForce(c.id) && (v.nodes[c.id].approved || !c.isAuthority())
}

// names tells whether a node whose certificate is not at hand is evicted.
func (v *evictions) names(id NodeID) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.inForce(id)
}

// inForce tells whether an eviction counts. The lock is held.
func (v *evictions) inForce(id NodeID) bool {
	one, ok := v.nodes[id]
	return ok && (one.approved || !v.nodes[one.by].approved)
}

// get returns what is known of a node's eviction, if it counts.
func (v *evictions) get(id NodeID) (evictedNode, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.nodes[id], v.inForce(id)
}

// all returns the evictions that count.
func (v *evictions) all() map[NodeID]evictedNode {
	v.mu.RLock()
	defer v.mu.RUnlock()
	out := make(map[NodeID]evictedNode, len(v.nodes))
	for id, one := range v.nodes {
		if v.inForce(id) {
			out[id] = one
		}
	}
	return out
}

// encodeEviction makes the payload of an eviction; ca is nil without the mesh's
// key.
func encodeEviction(id NodeID, name string, ca *authority) ([]byte, error) {
	note := &wire.Eviction{Name: name}
	if ca != nil {
		note.Approval = ed25519.Sign(ca.key.key, approvalOf(ca.mesh, id))
	}
	return wire.Marshal(note)
}

// approvalOf is what the mesh's key signs to take a node out.
func approvalOf(mesh ID, id NodeID) []byte {
	return slices.Concat([]byte(evictionDomain), unhex(string(mesh)), id.bytes())
}

// decodeEviction takes the payload of an eviction apart.
func decodeEviction(payload []byte) (*wire.Eviction, error) {
	var note wire.Eviction
	if err := wire.Unmarshal(payload, &note); err != nil {
		return nil, err
	}
	if err := ValidateName(note.GetName()); err != nil {
		return nil, err
	}
	if n := len(note.GetApproval()); n != 0 && n != ed25519.SignatureSize {
		return nil, fmt.Errorf("the approval has %d bytes", n)
	}
	return &note, nil
}

// checkEviction tells whether an eviction is what it has to be.
func (a *trustAnchor) checkEviction(e *entry) error {
	note, err := decodeEviction(e.Payload)
	if err != nil {
		return err
	}
	id, approved := evictionOf(e.Key)
	if !approved {
		if len(note.GetApproval()) != 0 {
			return errors.New("an approval is out of place")
		}
		return nil
	}
	key, ok := a.cert.PublicKey.(ed25519.PublicKey)
	if !ok || !ed25519.Verify(key, approvalOf(a.mesh, id), note.GetApproval()) {
		return errors.New("the mesh's key does not approve of it")
	}
	return nil
}
