package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgenet.dev/edgenet/test/sim"
)

func TestAPageIsMadeAnewBetweenItsMarks(t *testing.T) {
	dir := t.TempDir()
	page := filepath.Join(dir, "scale.md")
	if err := os.WriteFile(page, []byte("before\n"+markBegin+"\nold\n"+markEnd+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, r := range []*sim.Result{
		{Nodes: 1000, Endpoints: 7, Start: &sim.Start{Whole: 2}},
		{Nodes: 50, Real: 40, Death: &sim.Death{All: sim.Pair{Median: 4, Worst: 5}}}, // The same mesh, another phase.
		{
			Nodes: 50, Real: 60, Rest: &sim.Load{Memory: 2e6, Seconds: 60, Sent: map[string]sim.Rate{sim.KindPackets: {Bytes: 1234}}},
			Changes: &sim.Spread{All: sim.Pair{Median: 0.5, Worst: -1}, Quantiles: []float64{0, 1, 2}},
		},
	} {
		file := filepath.Join(dir, strings.Repeat("x", len(files)+1))
		if err := r.Write(file); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	for range 2 { // The second time must find the marks again.
		if err := run(page, files); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, want := range []string{
		"before\n" + markBegin, markEnd + "\nafter\n", "| nodes | 50 | 1000 |",
		"| on all | 500 ms / not in time |  |", "| memory, per node | 2 MB |  |", "| for all | 4.0 s / 5.0 s |  |", "| real time of the run | 100 s | 0 s |",
		"all see all |  | 2.0 s |", "1.23 kB",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not have %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "old") {
		t.Error("the old figures are still there")
	}
	for _, p := range plots {
		b, err := os.ReadFile(filepath.Join(dir, "scale", p.file))
		if err != nil || !strings.HasPrefix(string(b), "\x89PNG") {
			t.Errorf("%s: %v, no PNG", p.file, err)
		}
	}
	if err := os.WriteFile(page, []byte("no marks"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(page, files); err == nil {
		t.Error("a page without marks is no error")
	}
}
