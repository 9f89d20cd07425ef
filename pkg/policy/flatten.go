package policy

import (
	"cmp"
	"container/heap"
	"math"
	"slices"
)

// appendSpans adds what a rule permits; no ports mean every port.
func appendSpans(spans []Interval, ports []PortRange, rule uint32) []Interval {
	if len(ports) == 0 {
		return append(spans, Interval{First: 0, Last: math.MaxUint16, Rule: rule})
	}
	for _, r := range ports {
		spans = append(spans, Interval{First: r.First, Last: r.Last, Rule: rule})
	}
	return spans
}

// flatten turns overlapping spans into sorted, disjoint ones, in which each port
// belongs to the lowest rule that has it. It sweeps the ports once, with the
// spans that are open at the current port on a heap: n log n in the spans.
func flatten(spans []Interval) []Interval {
	slices.SortFunc(spans, func(a, b Interval) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Rule, b.Rule))
	})
	var (
		flat []Interval
		open byRule
		port uint32 // wider than a port, so that it can pass the last one
	)
	for {
		for len(open) > 0 && uint32(open[0].Last) < port {
			heap.Pop(&open)
		}
		if len(open) == 0 {
			if len(spans) == 0 {
				return flat
			}
			port = uint32(spans[0].First)
		}
		for len(spans) > 0 && uint32(spans[0].First) <= port {
			heap.Push(&open, spans[0])
			spans = spans[1:]
		}
		last := uint32(open[0].Last)
		if len(spans) > 0 {
			last = min(last, uint32(spans[0].First)-1)
		}
		flat = appendMerged(flat, Interval{First: uint16(port), Last: uint16(last), Rule: open[0].Rule})
		port = last + 1
	}
}

// appendMerged lengthens the last interval if the next one only continues it.
func appendMerged(flat []Interval, next Interval) []Interval {
	if n := len(flat); n > 0 && flat[n-1].Rule == next.Rule && uint32(flat[n-1].Last)+1 == uint32(next.First) {
		flat[n-1].Last = next.Last
		return flat
	}
	return append(flat, next)
}

// byRule is a heap with the lowest rule on top.
type byRule []Interval

func (h byRule) Len() int           { return len(h) }
func (h byRule) Less(i, j int) bool { return h[i].Rule < h[j].Rule }
func (h byRule) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is for container/heap.
func (h *byRule) Push(x any) { *h = append(*h, x.(Interval)) }

// Pop is for container/heap.
func (h *byRule) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
