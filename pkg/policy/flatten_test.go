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
		{"one span stays", []Interval{{First: 5, Last: 9, Rule: 3}}, []Interval{{First: 5, Last: 9, Rule: 3}}},
		{"the lower rule cuts a hole into the higher", []Interval{{First: 1, Last: 100, Rule: 5}, {First: 50, Last: 60, Rule: 2}}, []Interval{{First: 1, Last: 49, Rule: 5}, {First: 50, Last: 60, Rule: 2}, {First: 61, Last: 100, Rule: 5}}},
		{"the higher rule is not seen behind the lower", []Interval{{First: 1, Last: 100, Rule: 2}, {First: 50, Last: 60, Rule: 5}}, []Interval{{First: 1, Last: 100, Rule: 2}}},
		{"the higher rule shows where the lower ends", []Interval{{First: 1, Last: 10, Rule: 1}, {First: 5, Last: 20, Rule: 2}}, []Interval{{First: 1, Last: 10, Rule: 1}, {First: 11, Last: 20, Rule: 2}}},
		{"neighbours of two rules stay two", []Interval{{First: 1, Last: 5, Rule: 1}, {First: 6, Last: 9, Rule: 2}}, []Interval{{First: 1, Last: 5, Rule: 1}, {First: 6, Last: 9, Rule: 2}}},
		{"neighbours of one rule become one", []Interval{{First: 1, Last: 5, Rule: 1}, {First: 6, Last: 9, Rule: 1}}, []Interval{{First: 1, Last: 9, Rule: 1}}},
		{"the ends of the range of ports are no trouble", []Interval{{First: 0, Last: math.MaxUint16, Rule: 1}, {First: math.MaxUint16, Last: math.MaxUint16, Rule: 0}}, []Interval{{First: 0, Last: 65534, Rule: 1}, {First: 65535, Last: 65535, Rule: 0}}},
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
