package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/proto"
)

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
	_, err := fmt.Fprint(s.stdout, table(items, columns))
	return err
}

// table has a line for the titles and one for each item.
func table[T any](items []T, columns []column[T]) string {
	rows := make([][]string, len(items)+1)
	for _, c := range columns {
		rows[0] = append(rows[0], c.title)
		for i, item := range items {
			rows[i+1] = append(rows[i+1], orDash(printable(c.cell(item))))
		}
	}
	return align(rows)
}

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
	rows := make([][]string, 0, len(lines))
	for _, d := range lines {
		rows = append(rows, []string{d.name + ":", orDash(printable(d.value))})
	}
	return strings.TrimSuffix(align(rows), "\n")
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
