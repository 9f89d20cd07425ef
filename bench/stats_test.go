package main

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestMedianOfEvenAndOddCounts(t *testing.T) {
	for _, test := range []struct {
		samples []float64
		want    float64
	}{
		{[]float64{7}, 7},
		{[]float64{3, 1, 2}, 2},
		{[]float64{4, 1, 2, 3}, 2.5},
		{[]float64{5, 5, 1, 9, 5}, 5},
	} {
		before := slices.Clone(test.samples)
		if got := median(test.samples); got != test.want {
			t.Errorf("median of %v is %g, want %g", test.samples, got, test.want)
		}
		if !slices.Equal(before, test.samples) {
			t.Errorf("median sorted its argument: %v", test.samples)
		}
	}
}

func TestPercentileIsTheNearestRank(t *testing.T) {
	var samples []float64
	for i := range 200 {
		samples = append(samples, float64(i+1))
	}
	rand.Shuffle(len(samples), func(i, j int) { samples[i], samples[j] = samples[j], samples[i] })
	for p, want := range map[float64]float64{0.1: 1, 50: 100, 99: 198, 99.5: 199, 100: 200} {
		if got := percentile(samples, p); got != want {
			t.Errorf("percentile %g is %g, want %g", p, got, want)
		}
	}
}

// Of any samples, at least p percent do not exceed the percentile, and fewer
// than p percent are below it.
func TestPercentileSplitsAnySamples(t *testing.T) {
	for range 1000 {
		samples := make([]float64, 1+rand.IntN(50))
		for i := range samples {
			samples[i] = float64(rand.IntN(20))
		}
		p := float64(1 + rand.IntN(100))
		value := percentile(samples, p)
		var below, upTo float64
		for _, sample := range samples {
			if sample < value {
				below++
			}
			if sample <= value {
				upTo++
			}
		}
		if n := float64(len(samples)); upTo*100 < p*n || below*100 >= p*n {
			t.Fatalf("percentile %g of %v is %g: %g below, %g up to it", p, samples, value, below, upTo)
		}
	}
}

func TestPairwiseKeepsRoundsTogether(t *testing.T) {
	a, b := []float64{10, 40}, []float64{5, 10}
	if got := pairwise(a, b, quotient); !slices.Equal(got, []float64{2, 4}) {
		t.Errorf("quotients are %v", got)
	}
	if got := pairwise(a, b, difference); !slices.Equal(got, []float64{5, 30}) {
		t.Errorf("differences are %v", got)
	}
}

func TestRound4KeepsFourDigits(t *testing.T) {
	for x, want := range map[float64]float64{0: 0, 1234.56: 1235, 0.95049: 0.9505, -3.14159: -3.142, 9.99999: 10} {
		if got := round4(x); math.Abs(got-want) > 1e-12 {
			t.Errorf("%g rounds to %g, want %g", x, got, want)
		}
	}
}

func TestInterleaveRotatesTheOrder(t *testing.T) {
	var order []int
	samples, err := interleave(3, 3, func(thing int) (float64, error) {
		order = append(order, thing)
		return float64(len(order)), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []int{0, 1, 2, 1, 2, 0, 2, 0, 1}; !slices.Equal(order, want) {
		t.Errorf("order is %v, want %v", order, want)
	}
	// Thing 0 was measured first, sixth and eighth.
	if want := []float64{1, 6, 8}; !slices.Equal(samples[0], want) {
		t.Errorf("samples of the first are %v, want %v", samples[0], want)
	}
}

func TestInterleaveEndsWithTheFirstError(t *testing.T) {
	broken := errors.New("broken")
	calls := 0
	_, err := interleave(5, 2, func(int) (float64, error) {
		calls++
		return 0, broken
	})
	if !errors.Is(err, broken) || calls != 1 {
		t.Errorf("error %v after %d calls, want %v after 1", err, calls, broken)
	}
}
