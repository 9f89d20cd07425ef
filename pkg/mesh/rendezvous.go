package mesh

import (
	"cmp"
	"slices"
)

const (
	// witnessCount is how many witnesses a node has: three of five can be lost, or
	// two lie, and the rest decide.
	witnessCount = 5
	// witnessRoom is how many places further down a witness is heard too: nodes
	// that come and go are not seen by all at once.
	witnessRoom = 3
)

// scoreOf says how much a node is to be the witness of another: by a hash of both
// (rendezvous hashing; Thaler and Ravishankar, 1998), so that all nodes find the
// same witnesses, and few change when nodes come and go. Ids are hashes already:
// their beginnings are mixed by the finalizer of splitmix64 (Steele et al., 2014).
func scoreOf(node, witness NodeID) uint64 {
	x := node.hash() + 0x9e3779b97f4a7c15*(witness.hash()|1)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// witnessesOf returns the first count witnesses of a node among some that are
// there, the first one first.
func witnessesOf(node NodeID, among []NodeID, count int) []NodeID {
	type scored struct {
		id    NodeID
		score uint64
	}
	best := make([]scored, 0, count+1)
	for _, id := range among {
		if id == node {
			continue
		}
		s := scored{id, scoreOf(node, id)}
		at, _ := slices.BinarySearchFunc(best, s, func(a, b scored) int {
			return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.id, b.id))
		})
		if at == count {
			continue
		}
		best = slices.Insert(best, at, s)
		best = best[:min(len(best), count)]
	}
	out := make([]NodeID, len(best))
	for i, s := range best {
		out[i] = s.id
	}
	return out
}

// quorum is how many of that many witnesses decide.
func quorum(witnesses int) int { return witnesses/2 + 1 }
