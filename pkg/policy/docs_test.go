package policy

import (
	"os"
	"strings"
	"testing"
)

// What the manual shows is what can be written.
func TestTheManualsExamplesAreRight(t *testing.T) {
	text, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(name string) []string {
		_, rest, found := strings.Cut(string(text), "```"+name+"\n")
		lines, _, closed := strings.Cut(rest, "\n```")
		if !found || !closed {
			t.Fatalf("the manual has no block of %s", name)
		}
		return strings.Split(lines, "\n")
	}
	for i, r := range rules(t, block("rules")...) {
		if line := block("rules")[i]; r.String() != line {
			t.Errorf("rule %q is written %q", line, r)
		}
	}
	for _, line := range block("assertions") {
		if a, err := ParseAssertion(line); err != nil || a.String() != line {
			t.Errorf("assertion %q is written %q, %v", line, a, err)
		}
	}
}
