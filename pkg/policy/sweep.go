package policy

// sweptRows is how many rows a sweep can walk at once.
const sweptRows = 4

// sweep walks rows side by side over the ports first to last, and tells of each
// stretch in which none of them changes: at has the index of each row's interval
// there, or -1. It ends when visit returns false.
func sweep(rows [][]Interval, first, last uint16, visit func(first, last uint16, at [sweptRows]int) bool) {
	var next, at [sweptRows]int
	for port := uint32(first); port <= uint32(last); {
		end := uint32(last)
		for k, row := range rows {
			for next[k] < len(row) && uint32(row[next[k]].Last) < port {
				next[k]++
			}
			at[k] = -1
			if next[k] == len(row) {
				continue
			}
			if begin := uint32(row[next[k]].First); begin > port {
				end = min(end, begin-1)
				continue
			}
			at[k] = next[k]
			end = min(end, uint32(row[next[k]].Last))
		}
		if !visit(uint16(port), uint16(end), at) {
			return
		}
		port = end + 1
	}
}

// allows tells whether the interval at an index of a row does; -1 is none.
func allows(row []Interval, at int) bool { return at >= 0 && row[at].Action == Allow }

// ref names the rule of the interval at an index of a row; -1 is the default.
func (t *Table) ref(row []Interval, at int) RuleRef {
	if at < 0 {
		return RuleRef{}
	}
	return t.Rules[row[at].Rule]
}
