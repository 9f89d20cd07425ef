package ipsec

import "net/netip"

// requestIDs gives request ids to peers.
type requestIDs struct {
	last *uint32
	used map[uint32]bool
	// left are those that the kernel's policies have.
	left map[netip.Prefix]uint32
}

func (d *driver) requestIDs(s *snapshot) (requestIDs, error) {
	ids := requestIDs{last: &d.lastReqID, used: make(map[uint32]bool, len(s.conns))}
	for _, c := range s.conns {
		ids.used[c.child.reqID] = true
	}
	if d.cfg.Kind != KindKernel {
		return ids, nil
	}
	var err error
	ids.left, err = requestIDsOf(d.ifID)
	return ids, err
}

// next returns a request id that no other peer has. In the kernel a prefix keeps
// the one that its policies have, so that what an earlier charon left goes on until
// it is replaced.
func (r requestIDs) next(prefix netip.Prefix) uint32 {
	if id := r.left[prefix]; id != 0 && !r.used[id] {
		r.used[id] = true
		return id
	}
	for _, id := range r.left {
		r.used[id] = true
	}
	// The last one is not given anew at once: what still has it may be on its way.
	for {
		*r.last++
		if *r.last == 0 || r.used[*r.last] {
			continue
		}
		r.used[*r.last] = true
		return *r.last
	}
}
