package main

import (
	"strings"
	"unicode/utf8"
)

// columnGap is what stands between columns.
const columnGap = "  "

// align puts the cells of each row under one another, a line to a row. The last
// cell of a row is not padded, so that no line ends in spaces.
func align(rows [][]string) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)) + columnGap)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
