package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// report collects outcomes of several kernels at once.
type report struct {
	mu       sync.Mutex
	outcomes []*outcome
}

// add tells of an outcome at once, and keeps it for the table.
func (r *report) add(o *outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes = append(r.outcomes, o)
	fmt.Printf("kernel %s: %s ended after %s\n", o.kernel, o.suite, o.took.Round(time.Second))
	for _, text := range []string{o.shown.String(), o.problem} {
		if text != "" {
			fmt.Println("\t" + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n\t"))
		}
	}
}

func (r *report) failed() bool {
	return slices.ContainsFunc(r.outcomes, func(o *outcome) bool { return o.failed > 0 || o.problem != "" })
}

// print writes the table, and every test that was skipped with its reason.
func (r *report) print(to io.Writer) {
	slices.SortStableFunc(r.outcomes, func(a, b *outcome) int { return strings.Compare(a.kernel, b.kernel) })
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	row := func(format string, values ...any) { _, _ = fmt.Fprintf(table, format, values...) }
	row("KERNEL\tSUITE\tPASSED\tFAILED\tSKIPPED\tSECONDS\n")
	for _, o := range r.outcomes {
		row("%s\t%s\t%d\t%d\t%d\t%.0f", o.kernel, o.suite, o.passed, o.failed, len(o.skipped), o.took.Seconds())
		if o.problem != "" {
			row("  ended badly")
		}
		row("\n")
	}
	_ = table.Flush()
	for _, o := range r.outcomes {
		for _, s := range o.skipped {
			_, _ = fmt.Fprintf(to, "kernel %s: skipped %s: %s\n", o.kernel, s.test, s.reason)
		}
	}
}
