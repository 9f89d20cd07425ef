package netns

import (
	"net/netip"
	"strings"
)

// addr is an address that the test's author wrote.
func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

// lines are those of a program's output.
func lines(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }

// containsAll says whether every word is in the text.
func containsAll(text string, words ...string) bool {
	for _, word := range words {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}
