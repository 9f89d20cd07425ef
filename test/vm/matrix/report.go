package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// report collects outcomes of several kernels at once.
type report struct {
	// kernels are those that the matrix has.
	kernels  []string
	mu       sync.Mutex
	outcomes []*outcome
}

// add tells of an outcome at once, and keeps it for the table.
func (r *report) add(o *outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes = append(r.outcomes, o)
	o.tell(os.Stdout)
}

// tell writes how it went, and what failed.
func (o *outcome) tell(to io.Writer) {
	_, _ = fmt.Fprintf(to, "kernel %s: %s ended after %s: %s\n", o.Kernel, o.name(), o.Took.Round(time.Second), o.words())
	for _, text := range []string{o.shown.String(), o.Problem} {
		if text != "" {
			_, _ = fmt.Fprintln(to, "\t"+strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n\t"))
		}
	}
}

func (o *outcome) name() string { return strings.TrimSpace(o.Suite + " " + o.Driver) }

// words is 3 passed, 1 skipped, 60 not chosen.
func (o *outcome) words() string {
	words := fmt.Sprintf("%d passed", o.Passed)
	for _, of := range []struct {
		n    int
		what string
	}{{o.Failed, "FAILED"}, {len(o.Skipped), "skipped"}, {len(o.NotReached), "NOT REACHED"}, {o.NotChosen, "not chosen"}} {
		if of.n > 0 {
			words += fmt.Sprintf(", %d %s", of.n, of.what)
		}
	}
	if o.Problem != "" {
		words += ", ENDED BADLY"
	}
	return words
}

func (o *outcome) bad() bool { return o.Failed > 0 || o.Problem != "" }

func (r *report) failed() bool { return slices.ContainsFunc(r.outcomes, (*outcome).bad) }

// print writes every test that was skipped with its reason, what was run, and the
// matrix of drivers and kernels.
func (r *report) print(to io.Writer) {
	slices.SortStableFunc(r.outcomes, func(a, b *outcome) int {
		return slices.Index(r.kernels, a.Kernel) - slices.Index(r.kernels, b.Kernel)
	})
	for _, o := range r.outcomes {
		for _, s := range o.Skipped {
			_, _ = fmt.Fprintf(to, "kernel %s: %s: skipped %s: %s\n", o.Kernel, o.name(), s.Test, s.Reason)
		}
	}
	_, _ = fmt.Fprintln(to)
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { _, _ = fmt.Fprintln(table, strings.Join(cells, "\t")) }
	row("KERNEL", "SUITE", "TESTS", "SECONDS")
	for _, o := range r.outcomes {
		row(o.Kernel, o.name(), o.words(), fmt.Sprintf("%.0f", o.Took.Seconds()))
	}
	_ = table.Flush()
	_, _ = fmt.Fprintln(to)
	row("DRIVER", "KERNEL", "CONFORMANCE", "SCENARIOS")
	for _, driver := range append(tunnel.Drivers(), "") {
		for _, kernel := range r.kernels {
			name, conformance := driver, r.cell(kernel, driver, "wireguard", "ipsec")
			if driver == "" {
				name, conformance = "free to choose", "-"
			} else if strings.Contains(conformance, " not chosen") {
				conformance = "not chosen"
			}
			row(name, kernel, conformance, r.cell(kernel, driver, "netns"))
		}
	}
	_ = table.Flush()
}

// cell is what a driver did on a kernel.
func (r *report) cell(kernel, driver string, suites ...string) string {
	for _, o := range r.outcomes {
		if o.Kernel == kernel && o.Driver == driver && slices.Contains(suites, o.Suite) {
			return o.words()
		}
	}
	if n := r.size(suites[0]); n > 0 {
		return fmt.Sprintf("%d not chosen", n)
	}
	return "not chosen"
}

// size is how many tests a suite has, as far as an outcome tells.
func (r *report) size(suite string) int {
	n := 0
	for _, o := range r.outcomes {
		if o.Suite == suite && !o.parts {
			n = max(n, o.Passed+o.Failed+len(o.Skipped)+len(o.NotReached)+o.NotChosen)
		}
	}
	return n
}
