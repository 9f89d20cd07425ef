package lab

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
)

// Figure is what a scenario measured of a promise.
type Figure struct {
	// Promise in words, and the driver that it was kept by.
	Promise, Driver string
	// Measured, and the Bound that it was held to.
	Measured, Bound string
}

// figures are those of this process, in the order of their noting.
var figures struct {
	mu   sync.Mutex
	rows []Figure
}

// Note keeps a figure for the table at the end, and logs it.
func Note(t TB, f Figure) {
	t.Helper()
	t.Logf("%s, by %s: %s; at most %s", f.Promise, f.Driver, f.Measured, f.Bound)
	figures.mu.Lock()
	defer figures.mu.Unlock()
	figures.rows = append(figures.rows, f)
}

// printFigures prints the table and how many labs had the race detector, and adds
// that to the file that $EDGENET_FIGURES names, for those who hide what tests that
// pass print.
func printFigures() (err error) {
	var text strings.Builder
	if len(figures.rows) > 0 {
		writeFigures(&text, figures.rows)
	}
	if raced != "" {
		fmt.Fprintf(&text, "edgenetd ran with the race detector in %d labs, without it in %d that measure time or loss\n",
			made.raced.Load(), made.plain.Load())
	}
	if text.Len() == 0 {
		return nil
	}
	fmt.Print(text.String())
	path := os.Getenv("EDGENET_FIGURES")
	if path == "" {
		return nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("keep figures: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.WriteString(text.String()); err != nil {
		return fmt.Errorf("keep figures: %w", err)
	}
	return nil
}

// writeFigures writes rows of one driver together.
func writeFigures(w io.Writer, rows []Figure) {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b Figure) int { return cmp.Compare(a.Driver, b.Driver) })
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range append([]Figure{{"WHAT HAPPENS", "DRIVER", "MEASURED", "AT MOST"}}, rows...) {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", f.Driver, f.Promise, f.Measured, f.Bound)
	}
	_ = table.Flush() // a strings.Builder takes everything
}
