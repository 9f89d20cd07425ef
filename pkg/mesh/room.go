package mesh

import (
	"cmp"
	"slices"
)

// Usage is how much a node has of the room that each has for records of its own.
type Usage struct {
	Node NodeID
	// Records are its endpoints', tombstones too, of MaxRecords; Bytes their size, of
	// MaxBytes.
	Records, MaxRecords int
	Bytes, MaxBytes     int
}

// Share is the fuller part of it, from 0 to 1.
func (u Usage) Share() float64 {
	return max(float64(u.Records)/float64(u.MaxRecords), float64(u.Bytes)/float64(u.MaxBytes))
}

// Crowded returns the nodes that have used a share of their room or more, the fullest
// first.
func (m *Mesh) Crowded(share float64) []Usage {
	var out []Usage
	t := m.replica.table
	t.mu.RLock()
	for id, u := range t.owned {
		one := Usage{Node: id, Records: u.records, MaxRecords: maxOwned, Bytes: u.bytes, MaxBytes: maxOwnedBytes}
		if one.Share() >= share {
			out = append(out, one)
		}
	}
	t.mu.RUnlock()
	slices.SortFunc(out, func(a, b Usage) int {
		return cmp.Or(cmp.Compare(b.Share(), a.Share()), cmp.Compare(a.Node, b.Node))
	})
	return out
}
