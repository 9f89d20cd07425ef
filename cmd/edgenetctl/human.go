package main

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// printable keeps a text from doing things to the terminal: names and messages
// may come from other hosts.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// orDash shows that there is nothing.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// list is several words in one cell.
func list(words []string) string { return strings.Join(words, ",") }

// size is a number of bytes in binary units: "812 B", "1.5 KiB".
func size(bytes uint64) string {
	const unit = 1024
	if bytes < unit {
		return fmt.Sprintf("%d B", bytes)
	}
	value, prefix := float64(bytes)/unit, 0
	// From 1023.95 on, one decimal would show 1024.0.
	for value >= unit-0.05 && prefix < len("KMGTPE")-1 {
		value /= unit
		prefix++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[prefix])
}

// milliseconds is a round-trip time; 0 was not measured.
func milliseconds(ms float64) string {
	switch {
	case ms <= 0:
		return ""
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	default:
		return fmt.Sprintf("%.0f ms", ms)
	}
}

// when is a time as seen from now: "12s ago", "in 59m"; empty if there is none.
func (e *env) when(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	age := e.now().Sub(t.AsTime())
	switch {
	case age.Abs() < time.Second:
		return "now"
	case age < 0:
		return "in " + span(-age)
	default:
		return span(age) + " ago"
	}
}

// span is a length of time in its largest fitting unit, rounded down.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/day)
	}
}

// brief is a duration without units of which there are none: "720h", not
// "720h0m0s".
func brief(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// plural is a number with its noun.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
