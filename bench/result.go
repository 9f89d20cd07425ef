package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// result is one row, as it is written to the file.
type result struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Target is nil for a row that is only information.
	Target *float64 `json:"target"`
	Pass   bool     `json:"pass"`
	// Samples are what Value was computed of, in the order they were taken.
	Samples []float64 `json:"samples"`
	// Missing is what this host lacks for the row to be measured; empty for one that
	// was.
	Missing string `json:"missing,omitempty"`

	sign string
}

// medianOf makes the row whose value is the median of the samples.
func medianOf(name, unit string, samples []float64) result {
	return rowOf(name, unit, samples, median)
}

// rowOf makes a row without a target.
func rowOf(name, unit string, samples []float64, summarize func([]float64) float64) result {
	rounded := make([]float64, len(samples))
	for i, sample := range samples {
		rounded[i] = round4(sample)
	}
	return result{Name: name, Unit: unit, Value: round4(summarize(rounded)), Pass: true, Samples: rounded}
}

// missing makes a row that this host cannot measure. It does not pass, and
// bench-check names it.
func missing(name, unit string, why error) result {
	return result{Name: name, Unit: unit, Samples: []float64{}, Missing: why.Error()}
}

// atLeast gives the row a target that its value must not be below.
func (r result) atLeast(target float64) result {
	r.Target, r.sign, r.Pass = &target, ">=", r.Value >= target
	return r
}

// atMost gives the row a target that its value must not exceed.
func (r result) atMost(target float64) result {
	r.Target, r.sign, r.Pass = &target, "<=", r.Value <= target
	return r
}

// writeResults writes the rows as a JSON list. A reader sees the old file or
// the new one, never a part.
func writeResults(path string, results []result) error {
	text, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make directory of results: %w", err)
	}
	partial := path + ".partial"
	if err := os.WriteFile(partial, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	if err := os.Rename(partial, path); err != nil {
		return fmt.Errorf("put results in place: %w", err)
	}
	return nil
}
