package mesh

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// The reasons for which a record is refused, as Refusals names them.
const (
	refusedMalformed     = "malformed"
	refusedOversize      = "oversize"
	refusedKind          = "unknown-kind"
	refusedKey           = "bad-key"
	refusedAuthor        = "wrong-author"
	refusedUnknownAuthor = "unknown-author"
	refusedFuture        = "future-version"
	refusedCertificate   = "bad-certificate"
	refusedSignature     = "bad-signature"
	refusedPayload       = "bad-payload"
	refusedQuota         = "too-much"
	refusedEvicted       = "evicted"
	// refusedRefuted counts words of witnesses that proved wrong.
	refusedRefuted = "refuted"
	// refusedFlood is for digests, not for records.
	refusedFlood = "too-often"
)

// RefusedNoGrant is for claims of endpoints that are not granted: their records are
// taken, for the grant may come later, and the mesh's owner believes them no more.
const RefusedNoGrant = "no-grant"

// refusal is why a record was not believed.
type refusal struct {
	reason string
	// by is who is to blame, as far as that is proved: "" is anybody.
	by  NodeID
	err error
}

func (r *refusal) Error() string { return "refuse record: " + r.reason + ": " + r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// refuse makes a refusal.
func refuse(reason, format string, args ...any) error {
	return refuseOf("", reason, format, args...)
}

// refuseOf makes a refusal of what a node has signed.
func refuseOf(by NodeID, reason, format string, args ...any) error {
	return &refusal{reason: reason, by: by, err: fmt.Errorf(format, args...)}
}

// blame names who has brought what is refused, if it is nothing that an honest node
// has: one of another version, or with another view of the time, may well have what
// is refused for other reasons.
func blame(err error, bringer NodeID) error {
	var why *refusal
	if !errors.As(err, &why) || why.by != "" {
		return err
	}
	switch why.reason {
	case refusedMalformed, refusedOversize, refusedKey, refusedAuthor, refusedSignature:
		return &refusal{reason: why.reason, by: bringer, err: why.err}
	}
	return err
}

// Refused is what was not believed, for one reason, and who is to blame.
type Refused struct {
	// Node has signed it, or has brought what no honest node has; empty if that is
	// not known, as of all that gossip brings in somebody's name.
	Node   NodeID
	Reason string
	// Count is since the start, Last the latest time.
	Count uint64
	Last  time.Time
}

// refusals counts what was refused, by who is to blame and by reason. There are as many
// as there are nodes and reasons, at most.
type refusals struct {
	mu     sync.Mutex
	counts map[refusedBy]refusedCount
}

type refusedBy struct {
	node   NodeID
	reason string
}

type refusedCount struct {
	count uint64
	last  time.Time
}

// count adds err, if it is a refusal, and returns its reason.
func (r *refusals) count(err error) string {
	var why *refusal
	if !errors.As(err, &why) {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts = make(map[refusedBy]refusedCount)
	}
	key := refusedBy{why.by, why.reason}
	r.counts[key] = refusedCount{count: r.counts[key].count + 1, last: time.Now()}
	return why.reason
}

// CountRefused counts a record of a node that the mesh has taken, and its owner does not
// believe.
func (m *Mesh) CountRefused(node NodeID, reason string) {
	m.replica.refusals.count(refuseOf(node, reason, "by the mesh's owner"))
}

// snapshot returns the counts by reason.
func (r *refusals) snapshot() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]uint64, len(r.counts))
	for key, c := range r.counts {
		out[key.reason] += c.count
	}
	return out
}

// Refused returns what was not believed since the start, by node and reason.
func (m *Mesh) Refused() []Refused {
	r := &m.replica.refusals
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Refused, 0, len(r.counts))
	for key, c := range r.counts {
		out = append(out, Refused{Node: key.node, Reason: key.reason, Count: c.count, Last: c.last})
	}
	slices.SortFunc(out, func(a, b Refused) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Reason, b.Reason))
	})
	return out
}
