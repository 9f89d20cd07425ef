package sim

import "slices"

// shrink takes steps out of a schedule for as long as what is left still fails:
// halves first, then ever smaller parts (after Zeller's ddmin), with at most so
// many tries. It returns the numbers of the steps that are left.
func shrink(steps, tries int, fails func(keep []int) bool) []int {
	keep := make([]int, steps)
	for i := range keep {
		keep[i] = i
	}
	for part := (steps + 1) / 2; part > 0; part /= 2 {
		for begin := 0; begin < len(keep); {
			if tries--; tries < 0 {
				return keep
			}
			rest := slices.Delete(slices.Clone(keep), begin, min(begin+part, len(keep)))
			if fails(rest) {
				keep = rest // What comes next is at begin now.
			} else {
				begin += part
			}
		}
	}
	return keep
}
