package daemon

import (
	"time"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
)

const (
	// grantDelay is how much later than a claim its grant may come without a word
	// about it: records travel by themselves.
	grantDelay = 5 * time.Second
	// maxDoubted bounds how many claims are remembered.
	maxDoubted = 4096
)

// doubted is a claim that came without the grant that it needs.
type doubted struct {
	at     time.Time
	claim  *endpoint
	record *records.Endpoint
}

// doubt remembers those of the claims given that lack their grant.
func (r *reader) doubt(s *snapshot, claims []*endpoint) {
	if r.doubted == nil {
		return
	}
	now := time.Now()
	for _, e := range claims {
		if e.node != s.self.ID && len(*r.doubted) < maxDoubted && s.lacksGrant(e, e.record) {
			*r.doubted = append(*r.doubted, doubted{at: now, claim: e, record: e.record})
		}
	}
}

// lacksGrant tells whether a claim is there as a record has it, and is not granted.
func (s *snapshot) lacksGrant(e *endpoint, record *records.Endpoint) bool {
	v := s.byVNI[e.vni]
	if v == nil || v.grants == nil {
		return false
	}
	at, there := place(v.all, e)
	return there && v.all[at].record == record && isUngranted(v.all[at])
}

// unfounded are the nodes of claims whose grant has not come in time, each as often as
// it has such. They are told once.
func (r *reader) unfounded(now time.Time) []mesh.NodeID {
	if r.doubted == nil || r.last == nil {
		return nil
	}
	var nodes []mesh.NodeID
	for len(*r.doubted) > 0 && now.Sub((*r.doubted)[0].at) >= grantDelay {
		if d := (*r.doubted)[0]; r.last.lacksGrant(d.claim, d.record) {
			nodes = append(nodes, d.claim.node)
		}
		*r.doubted = (*r.doubted)[1:]
	}
	return nodes
}
