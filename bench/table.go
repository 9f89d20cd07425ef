package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// printTable prints the rows for a person.
func printTable(out io.Writer, results []result) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	lines := [][]string{{"NAME", "VALUE", "UNIT", "TARGET", "", "SAMPLES"}}
	for _, r := range results {
		target, verdict := "-", ""
		if r.Target != nil {
			target, verdict = fmt.Sprintf("%s %g", r.sign, *r.Target), "MISSED"
			if r.Pass {
				verdict = "ok"
			}
		}
		if r.Missing != "" {
			lines = append(lines, []string{r.Name, "-", r.Unit, "-", "not measured", r.Missing})
			continue
		}
		lines = append(lines, []string{r.Name, fmt.Sprintf("%g", r.Value), r.Unit, target, verdict, spread(r.Samples)})
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(table, strings.Join(line, "\t")); err != nil {
			return err
		}
	}
	return table.Flush()
}

// spread says how many samples there are and how far they lie apart.
func spread(samples []float64) string {
	return fmt.Sprintf("%d, %g to %g", len(samples), slices.Min(samples), slices.Max(samples))
}
