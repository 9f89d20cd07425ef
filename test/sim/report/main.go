// Command report writes what `make sim` has measured into a page: tables between
// two marks, and plots beside it.
//
//	report -page docs/scale.md RESULT.json...
package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"edgenet.dev/edgenet/test/sim"
)

// The marks between which a page is made by this command.
const (
	markBegin = "<!-- figures: made by `make sim`, by hand only outside of these marks -->"
	markEnd   = "<!-- end of figures -->"
)

func main() {
	page := flag.String("page", "docs/scale.md", "the page whose figures are replaced")
	flag.Parse()
	if err := run(*page, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

// run makes the figures of a page from results.
func run(page string, files []string) error {
	results, err := read(files)
	if err != nil {
		return err
	}
	old, err := os.ReadFile(page)
	if err != nil {
		return fmt.Errorf("read page: %w", err)
	}
	dir := strings.TrimSuffix(page, filepath.Ext(page))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make plots: %w", err)
	}
	for _, p := range plots {
		if err := p.draw(results, filepath.Join(dir, p.file)); err != nil {
			return err
		}
	}
	text, err := replace(string(old), figures(results, filepath.Base(dir)))
	if err != nil {
		return fmt.Errorf("read page %s: %w", page, err)
	}
	if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// read reads results, and sorts them by the number of nodes.
func read(files []string) ([]*sim.Result, error) {
	if len(files) == 0 {
		return nil, fmt.Errorf("read results: no file is given")
	}
	var out []*sim.Result
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read results: %w", err)
		}
		r, err := sim.Read(f)
		_ = f.Close() // It was only read.
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if i := slices.IndexFunc(out, r.SameMesh); i >= 0 {
			out[i].Add(r) // Phases may be measured in runs of their own.
			continue
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *sim.Result) int {
		return cmp.Or(cmp.Compare(a.Nodes, b.Nodes), cmp.Compare(a.Endpoints, b.Endpoints))
	})
	return out, nil
}

// replace puts new figures between the marks of a page.
func replace(page, figures string) (string, error) {
	head, rest, ok := strings.Cut(page, markBegin)
	if !ok {
		return "", fmt.Errorf("it has no mark %q", markBegin)
	}
	_, tail, ok := strings.Cut(rest, markEnd)
	if !ok {
		return "", fmt.Errorf("it has no mark %q", markEnd)
	}
	return head + markBegin + "\n\n" + figures + "\n" + markEnd + tail, nil
}
