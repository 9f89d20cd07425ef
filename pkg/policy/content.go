package policy

// contentID is the ID of a table with its content in it: a datapath that does
// not look again at a table that it knows takes a changed one for another.
func (t *Table) contentID(id ID) ID {
	// FNV-1a, over words instead of bytes.
	mix := func(sum, n uint64) uint64 { return (sum ^ n) * 1099511628211 }
	rules := make([]uint64, len(t.Rules))
	for i, ref := range t.Rules {
		for _, c := range []byte(ref.Group + " " + ref.ID) {
			rules[i] = mix(rules[i], uint64(c))
		}
	}
	sum := uint64(id)
	for m, row := range t.Verdicts {
		of := mix(mix(14695981039346656037, uint64(m.Identity)), uint64(m.Protocol))
		for _, i := range row {
			of = mix(mix(of, uint64(i.First)<<48|uint64(i.Last)<<32|uint64(i.Action)), rules[i.Rule])
		}
		sum += of
	}
	return ID(max(sum, 1))
}
