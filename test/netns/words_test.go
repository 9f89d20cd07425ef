package netns

import (
	"net/netip"
	"strings"
)

// addr is an address that the test's author wrote.
func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

// containsAll says whether every word is in the text.
func containsAll(text string, words ...string) bool {
	for _, word := range words {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}
