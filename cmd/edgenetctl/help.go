package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// helpIndent is what lists and examples are set in by.
const helpIndent = "  "

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
	text := fmt.Sprintf("Usage: %s\n\n%s.\n", line.usage(), capital(about))
	if next := line.subcommands(app); len(next) > 0 {
		text += "\nCommands:\n" + align(commandRows(next))
	}
	if flags := line.flags(); len(flags) > 0 {
		text += "\nFlags:\n" + align(flagRows(flags))
	}
	everywhere := append(flagRows(app.Flags), []string{helpIndent + "--help", "this text"})
	text += "\nFlags of every command:\n" + align(everywhere)
	text += "\nExample:\n" + helpIndent + strings.ReplaceAll(examples, "\n", "\n"+helpIndent) + "\n"
	_, err := io.WriteString(w, text)
	return err
}

func commandRows(commands []*cli.Command) [][]string {
	var rows [][]string
	for _, c := range commands {
		rows = append(rows, []string{helpIndent + c.Name, c.Usage})
	}
	return rows
}

// flagRows takes the name of a flag's value from the quoted word in its usage,
// which is urfave/cli's own custom.
func flagRows(flags []cli.Flag) [][]string {
	var rows [][]string
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
		rows = append(rows, []string{helpIndent + name, usage})
	}
	return rows
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
