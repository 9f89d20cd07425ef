package main

import "testing"

func TestPercentileIsTheNearestRank(t *testing.T) {
	var samples []float64
	for i := 200; i >= 1; i-- {
		samples = append(samples, float64(i))
	}
	for percent, want := range map[float64]float64{50: 100, 99: 198, 100: 200, 0: 1} {
		if got := percentile(samples, percent); got != want {
			t.Errorf("percentile %g is %g, want %g", percent, got, want)
		}
	}
}

func TestMedianOfEvenAndOddCounts(t *testing.T) {
	if got := median([]float64{3, 1, 2}); got != 2 {
		t.Errorf("median of three is %g, want 2", got)
	}
	if got := median([]float64{4, 1, 2, 3}); got != 2.5 {
		t.Errorf("median of four is %g, want 2.5", got)
	}
}

func TestBoundsDecideThePass(t *testing.T) {
	if atLeast(0.95, "x", 0.94, "ratio", nil).Pass || !atLeast(0.95, "x", 0.95, "ratio", nil).Pass {
		t.Error("a lower bound is wrong at its edge")
	}
	if atMost(10, "x", 10.1, "ms", nil).Pass || !atMost(10, "x", 10, "ms", nil).Pass {
		t.Error("an upper bound is wrong at its edge")
	}
}
