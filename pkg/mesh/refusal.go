package mesh

import (
	"errors"
	"fmt"
	"sync"
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
	// refusedRefuted counts words of witnesses that proved wrong.
	refusedRefuted = "refuted"
	// refusedFlood is for digests, not for records.
	refusedFlood = "too-often"
)

// refusal is why a record was not believed.
type refusal struct {
	reason string
	err    error
}

func (r *refusal) Error() string { return "refuse record: " + r.reason + ": " + r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// refuse makes a refusal.
func refuse(reason, format string, args ...any) error {
	return &refusal{reason: reason, err: fmt.Errorf(format, args...)}
}

// refusals counts refused records by reason.
type refusals struct {
	mu     sync.Mutex
	counts map[string]uint64
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
		r.counts = make(map[string]uint64)
	}
	r.counts[why.reason]++
	return why.reason
}

// snapshot returns a copy of the counts.
func (r *refusals) snapshot() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]uint64, len(r.counts))
	for reason, n := range r.counts {
		out[reason] = n
	}
	return out
}
