package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/proto"
)

// columnGap is the number of spaces between columns.
const columnGap = 2

// format is how an answer is written.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"
	formatYAML  format = "yaml"
)

func parseFormat(s string) (format, error) {
	switch f := format(s); f {
	case formatTable, formatJSON, formatYAML:
		return f, nil
	default:
		return "", usagef("unknown output format %q: write table, json or yaml", s)
	}
}

// column is one column of a table of T.
type column[T any] struct {
	title string
	cell  func(T) string
}

// printList shows many things: a table, or what there is none of; for programs
// an array, which may be empty.
func printList[T proto.Message](s *session, plural string, items []T, columns []column[T]) error {
	if s.format != formatTable {
		values := make([]any, 0, len(items))
		for _, item := range items {
			values = append(values, fromMessage(item.ProtoReflect()))
		}
		return s.encode(values)
	}
	if len(items) == 0 {
		_, err := fmt.Fprintf(s.stdout, "no %s\n", plural)
		return err
	}
	return writeTable(s.stdout, items, columns)
}

func writeTable[T any](w io.Writer, items []T, columns []column[T]) error {
	table := tabwriter.NewWriter(w, 0, 0, columnGap, ' ', 0)
	var titles []string
	for _, c := range columns {
		titles = append(titles, c.title)
	}
	writeRow(table, titles)
	for _, item := range items {
		var cells []string
		for _, c := range columns {
			cells = append(cells, orDash(printable(c.cell(item))))
		}
		writeRow(table, cells)
	}
	return table.Flush()
}

// writeRow ends the row without a tab, so that no line ends in spaces.
func writeRow(w io.Writer, cells []string) { fmt.Fprintln(w, strings.Join(cells, "\t")) }

// printAnswer shows one thing: for people a text, for programs the message.
func (s *session) printAnswer(answer proto.Message, text string) error {
	if s.format != formatTable {
		return s.encode(fromMessage(answer.ProtoReflect()))
	}
	_, err := fmt.Fprintln(s.stdout, text)
	return err
}

// detail is one line of what is known of a thing.
type detail struct{ name, value string }

// details aligns the lines, without a line end after the last one.
func details(lines []detail) string {
	var b strings.Builder
	aligned := tabwriter.NewWriter(&b, 0, 0, columnGap, ' ', 0)
	for _, d := range lines {
		fmt.Fprintf(aligned, "%s:\t%s\n", d.name, orDash(printable(d.value)))
	}
	// Writing to a strings.Builder cannot fail.
	_ = aligned.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}

// encode writes a value of fromMessage's kind for programs.
func (s *session) encode(value any) error {
	var (
		text []byte
		err  error
	)
	if s.format == formatYAML {
		text, err = yaml.Marshal(toYAML(value))
	} else {
		text, err = json.MarshalIndent(value, "", "  ")
	}
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	_, err = fmt.Fprintln(s.stdout, strings.TrimSuffix(string(text), "\n"))
	return err
}
