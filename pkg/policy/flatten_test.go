package policy

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestFlatten(t *testing.T) {
	tests := []struct {
		name  string
		spans []Interval
		want  []Interval
	}{
		{"nothing stays nothing", nil, nil},
		{"one span stays", []Interval{{5, 9, 3}}, []Interval{{5, 9, 3}}},
		{"the lower rule cuts a hole into the higher", []Interval{{1, 100, 5}, {50, 60, 2}}, []Interval{{1, 49, 5}, {50, 60, 2}, {61, 100, 5}}},
		{"the higher rule is not seen behind the lower", []Interval{{1, 100, 2}, {50, 60, 5}}, []Interval{{1, 100, 2}}},
		{"the higher rule shows where the lower ends", []Interval{{1, 10, 1}, {5, 20, 2}}, []Interval{{1, 10, 1}, {11, 20, 2}}},
		{"neighbours of two rules stay two", []Interval{{1, 5, 1}, {6, 9, 2}}, []Interval{{1, 5, 1}, {6, 9, 2}}},
		{"neighbours of one rule become one", []Interval{{1, 5, 1}, {6, 9, 1}}, []Interval{{1, 9, 1}}},
		{"the ends of the range of ports are no trouble", []Interval{{0, math.MaxUint16, 1}, {math.MaxUint16, math.MaxUint16, 0}}, []Interval{{0, 65534, 1}, {65535, 65535, 0}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := flatten(slices.Clone(tt.spans)); !slices.Equal(got, tt.want) {
				t.Errorf("flatten(%v) = %v; want %v", tt.spans, got, tt.want)
			}
		})
	}
}

// The sweep against painting each port.
func TestFlattenAgainstPainting(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	const limit = 64
	for range 20_000 {
		var (
			spans   []Interval
			painted [limit]int
		)
		for i := range painted {
			painted[i] = -1
		}
		for rule := range rnd.IntN(12) {
			first := rnd.IntN(limit)
			last := first + rnd.IntN(limit-first)
			spans = append(spans, Interval{First: uint16(first), Last: uint16(last), Rule: uint32(rule)})
			for i := first; i <= last; i++ {
				if painted[i] < 0 {
					painted[i] = rule
				}
			}
		}
		rnd.Shuffle(len(spans), func(i, j int) { spans[i], spans[j] = spans[j], spans[i] })
		flat := flatten(slices.Clone(spans))
		var unpainted [limit]int
		for i := range unpainted {
			unpainted[i] = -1
		}
		for i, interval := range flat {
			if interval.First > interval.Last || i > 0 && interval.First <= flat[i-1].Last {
				t.Fatalf("flatten(%v) = %v is not sorted and disjoint", spans, flat)
			}
			for p := interval.First; p <= interval.Last; p++ {
				unpainted[p] = int(interval.Rule)
			}
		}
		if unpainted != painted {
			t.Fatalf("flatten(%v) = %v", spans, flat)
		}
	}
}
