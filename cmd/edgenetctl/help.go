package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
)

// writeHelp explains a command: its usage in one line, what it does, its
// commands or flags, and an example.
func writeHelp(w io.Writer, app *cli.App, line *commandLine) error {
	var (
		about    = app.Usage
		examples = "edgenetctl status"
	)
	if n := len(line.path); n > 0 {
		about, examples = line.path[n-1].Usage, line.path[n-1].Description
	}
	fmt.Fprintf(w, "Usage: %s\n\n%s.\n", line.usage(), capital(about))
	if next := line.subcommands(app); len(next) > 0 {
		fmt.Fprint(w, "\nCommands:\n")
		if err := writeAligned(w, commandRows(next)); err != nil {
			return err
		}
	}
	if flags := line.flags(); len(flags) > 0 {
		fmt.Fprint(w, "\nFlags:\n")
		if err := writeAligned(w, flagRows(flags)); err != nil {
			return err
		}
	}
	fmt.Fprint(w, "\nFlags of every command:\n")
	if err := writeAligned(w, append(flagRows(app.Flags), [2]string{"--help", "this text"})); err != nil {
		return err
	}
	if examples == "" {
		return nil
	}
	_, err := fmt.Fprintf(w, "\nExample:\n  %s\n", strings.ReplaceAll(examples, "\n", "\n  "))
	return err
}

func commandRows(commands []*cli.Command) [][2]string {
	var rows [][2]string
	for _, c := range commands {
		rows = append(rows, [2]string{c.Name, c.Usage})
	}
	return rows
}

// flagRows takes the name of a flag's value from the quoted word in its usage,
// which is urfave/cli's own custom.
func flagRows(flags []cli.Flag) [][2]string {
	var rows [][2]string
	for _, f := range flags {
		documented, ok := f.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		usage := documented.GetUsage()
		name := "--" + f.Names()[0]
		for _, alias := range f.Names()[1:] {
			name = "-" + alias + ", " + name
		}
		if parts := strings.SplitN(usage, "`", 3); len(parts) == 3 {
			name += " " + parts[1]
			usage = parts[0] + parts[1] + parts[2]
		}
		rows = append(rows, [2]string{name, usage})
	}
	return rows
}

func writeAligned(w io.Writer, rows [][2]string) error {
	aligned := tabwriter.NewWriter(w, 0, 0, columnGap, ' ', 0)
	for _, row := range rows {
		fmt.Fprintf(aligned, "  %s\t%s\n", row[0], row[1])
	}
	return aligned.Flush()
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
