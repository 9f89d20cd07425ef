package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"text/tabwriter"
)

// result is one measured value, as bench/results.json has it.
type result struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	// Unit of the value and of the samples; "ratio" has none.
	Unit string `json:"unit"`
	// Target is the promise, such as ">= 0.95"; empty if it is only reported.
	Target string `json:"target"`
	// Pass is true when the target is met or there is none.
	Pass bool `json:"pass"`
	// Samples are the single measurements, in their order.
	Samples []float64 `json:"samples"`
}

// atLeast is a result with a lower bound.
func atLeast(bound float64, name string, value float64, unit string, samples []float64) result {
	return result{name, value, unit, fmt.Sprintf(">= %g", bound), value >= bound, samples}
}

// atMost is a result with an upper bound.
func atMost(bound float64, name string, value float64, unit string, samples []float64) result {
	return result{name, value, unit, fmt.Sprintf("<= %g", bound), value <= bound, samples}
}

// reported is a result without a bound.
func reported(name string, value float64, unit string, samples []float64) result {
	return result{name, value, unit, "", true, samples}
}

// percentile is the nearest-rank percentile of at least one sample.
func percentile(samples []float64, percent float64) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	rank := int(math.Ceil(percent / 100 * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}

func median(samples []float64) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// printTable shows the results to a person.
func printTable(to io.Writer, results []result) {
	table := tabwriter.NewWriter(to, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "NAME\tVALUE\tUNIT\tTARGET\tPASS\tSAMPLES (MIN..MAX)")
	for _, r := range results {
		target, pass := r.Target, "yes"
		if target == "" {
			target, pass = "-", "-"
		} else if !r.Pass {
			pass = "NO"
		}
		_, _ = fmt.Fprintf(table, "%s\t%.3f\t%s\t%s\t%s\t%d (%.3f..%.3f)\n", r.Name, r.Value, r.Unit, target, pass,
			len(r.Samples), slices.Min(r.Samples), slices.Max(r.Samples))
	}
	_ = table.Flush()
}

// write puts the results into a file, for programs.
func write(path string, results []result) error {
	if results == nil {
		results = []result{}
	}
	bytes, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	if err := os.WriteFile(path, append(bytes, '\n'), 0o644); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}
