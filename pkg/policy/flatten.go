package policy

import (
	"math"
	"slices"
)

// appendSpans adds the ports that a rule matches; no ports mean every port.
func appendSpans(spans []Interval, r *Rule, number uint32) []Interval {
	switch {
	case r.ICMP.HasCode:
		port := ICMPPort(r.ICMP.Type, r.ICMP.Code)
		return append(spans, Interval{First: port, Last: port, Rule: number})
	case r.ICMP.HasType:
		return append(spans, Interval{First: ICMPPort(r.ICMP.Type, 0), Last: ICMPPort(r.ICMP.Type, math.MaxUint8), Rule: number})
	case len(r.Ports) == 0:
		return append(spans, Interval{First: 0, Last: math.MaxUint16, Rule: number})
	}
	for _, p := range r.Ports {
		spans = append(spans, Interval{First: p.First, Last: p.Last, Rule: number})
	}
	return spans
}

// flatten turns overlapping spans into sorted, disjoint ones, in which each port
// belongs to the lowest rule that has it. It sweeps the ports once, with the
// spans that are open at the current port on a heap: n log n in the spans.
func flatten(spans []Interval) []Interval {
	if len(spans) == 1 {
		return spans
	}
	// A span is one number here, in whose order the sweep comes upon them.
	coming := make([]uint64, len(spans))
	for i, s := range spans {
		coming[i] = uint64(s.First)<<48 | uint64(s.Rule)<<16 | uint64(s.Last)
	}
	slices.Sort(coming)
	var (
		flat []Interval
		open spanHeap
		port uint32 // wider than a port, so that it can pass the last one
	)
	for {
		for len(open) > 0 && open.last() < port {
			open.pop()
		}
		if len(open) == 0 {
			if len(coming) == 0 {
				return flat
			}
			port = uint32(coming[0] >> 48)
		}
		for len(coming) > 0 && uint32(coming[0]>>48) <= port {
			open.push(coming[0] & (1<<48 - 1))
			coming = coming[1:]
		}
		last := open.last()
		if len(coming) > 0 {
			last = min(last, uint32(coming[0]>>48)-1)
		}
		flat = appendMerged(flat, Interval{First: uint16(port), Last: uint16(last), Rule: uint32(open[0] >> 16)})
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

// spanHeap has spans as rule<<16 | last port, the lowest rule on top.
type spanHeap []uint64

func (h spanHeap) last() uint32 { return uint32(h[0] & math.MaxUint16) }

func (h *spanHeap) push(span uint64) {
	*h = append(*h, span)
	list := *h
	for i := len(list) - 1; i > 0 && list[i] < list[(i-1)/2]; i = (i - 1) / 2 {
		list[i], list[(i-1)/2] = list[(i-1)/2], list[i]
	}
}

func (h *spanHeap) pop() {
	list := *h
	end := len(list) - 1
	list[0] = list[end]
	list = list[:end]
	for i := 0; ; {
		least := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < end && list[child] < list[least] {
				least = child
			}
		}
		if least == i {
			break
		}
		list[i], list[least] = list[least], list[i]
		i = least
	}
	*h = list
}
