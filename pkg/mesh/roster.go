package mesh

import (
	"math/rand/v2"
	"strconv"
)

// roster is a set of nodes of which one is drawn, and which is compared, in a
// time that does not depend on its size. The zero value is ready.
type roster struct {
	ids []NodeID
	at  map[NodeID]int
	// sum is the exclusive or of the nodes' hashes.
	sum uint64
}

// add puts a node into the set.
func (r *roster) add(id NodeID) {
	if _, ok := r.at[id]; ok {
		return
	}
	if r.at == nil {
		r.at = make(map[NodeID]int)
	}
	r.at[id] = len(r.ids)
	r.ids = append(r.ids, id)
	r.sum ^= id.hash()
}

// remove takes a node out of the set.
func (r *roster) remove(id NodeID) {
	i, ok := r.at[id]
	if !ok {
		return
	}
	last := len(r.ids) - 1
	r.ids[i] = r.ids[last]
	r.at[r.ids[i]] = i
	r.ids = r.ids[:last]
	delete(r.at, id)
	r.sum ^= id.hash()
}

// has tells whether a node is in the set.
func (r *roster) has(id NodeID) bool {
	_, ok := r.at[id]
	return ok
}

// draw returns a random node of the set but one, "" if there is none.
func (r *roster) draw(but NodeID) NodeID {
	i, ok := r.at[but]
	if !ok {
		if len(r.ids) == 0 {
			return ""
		}
		return r.ids[rand.IntN(len(r.ids))]
	}
	if len(r.ids) == 1 {
		return ""
	}
	j := rand.IntN(len(r.ids) - 1)
	if j >= i {
		j++
	}
	return r.ids[j]
}

// hash is the first part of the id, which is a hash already, as a number.
func (id NodeID) hash() uint64 {
	h, err := strconv.ParseUint(string(id[:min(len(id), 16)]), 16, 64)
	if err != nil {
		return 0 // It is no valid id.
	}
	return h
}

// any returns a random member but this node, "" if there is none.
func (ms *members) any(self NodeID) NodeID {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return ms.roster.draw(self)
}

// sum is equal on two nodes that see the same members.
func (ms *members) sum() uint64 {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return ms.roster.sum
}
