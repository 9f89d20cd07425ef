package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// said is what a test program writes, with the marks of -test.v=test2json.
var said = strings.ReplaceAll(`^=== RUN   TestGood
^--- PASS: TestGood (0.01s)
^=== RUN   TestNot
    lab_test.go:12: kernel lacks tcx
^--- SKIP: TestNot (0.00s)
^=== RUN   TestBad
^=== RUN   TestBad/half
    bad_test.go:7: wanted more
^--- FAIL: TestBad/half (0.00s)
^--- FAIL: TestBad (0.00s)
`, "^", "\x16")

func TestOutcomesAreCounted(t *testing.T) {
	o := &outcome{kernel: "6.1", suite: "bad"}
	if err := o.read(t.Context(), strings.NewReader(said+"FAIL\n")); err != nil {
		t.Fatal(err)
	}
	if o.passed != 1 || o.failed != 2 || !slices.Equal(o.skipped, []skip{{"TestNot", "kernel lacks tcx"}}) {
		t.Errorf("passed %d, failed %d, skipped %v", o.passed, o.failed, o.skipped)
	}
	if !strings.Contains(o.shown.String(), "wanted more") || strings.Contains(o.shown.String(), "TestGood") {
		t.Errorf("shown is %q", o.shown.String())
	}
	r := report{outcomes: []*outcome{o}}
	var table bytes.Buffer
	r.print(&table)
	if !r.failed() || !strings.Contains(table.String(), "kernel 6.1: skipped TestNot: kernel lacks tcx\n") {
		t.Errorf("the table is\n%s", &table)
	}
}

func TestASuiteThatRanNothingFails(t *testing.T) {
	for name, text := range map[string]string{"nothing": "", "no match": "testing: warning: no tests to run\nPASS\n"} {
		o := &outcome{}
		if err := o.read(t.Context(), strings.NewReader(text)); err == nil {
			t.Errorf("%s is taken for success", name)
		}
	}
}

// A program that panics ends without a word on the test that it was in.
func TestAPanicIsShown(t *testing.T) {
	o := &outcome{}
	text := "\x16=== RUN   TestGood\npanic: no such thing\n\ngoroutine 1 [running]:\n"
	_ = o.read(t.Context(), strings.NewReader(text))
	if o.failed == 0 || !strings.Contains(o.shown.String(), "no such thing") {
		t.Errorf("failed %d, shown %q", o.failed, o.shown.String())
	}
}
