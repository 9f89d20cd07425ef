package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// outcome is what a suite did on a kernel.
type outcome struct {
	kernel, suite  string
	passed, failed int
	skipped        []skip
	took           time.Duration
	// problem is why the suite as a whole did not go well; empty if it did.
	problem string
	// shown is what failed tests said.
	shown  strings.Builder
	output map[string]*strings.Builder
}

// skip is a test that did not run, and its reason.
type skip struct{ test, reason string }

// event is a line of `go tool test2json`, whose help documents it.
type event struct {
	Action, Test, Output string
}

// read counts what the tests said in the format of -test.v=test2json.
func (o *outcome) read(ctx context.Context, said io.Reader) error {
	convert := exec.CommandContext(ctx, "go", "tool", "test2json")
	convert.Stdin = said
	converted, err := convert.Output()
	if err != nil {
		return fmt.Errorf("read test output: %w", err)
	}
	return o.count(strings.NewReader(string(converted)))
}

// count takes the events. A test that began and did not end has failed, and a
// suite in which no test ran did not go well.
func (o *outcome) count(events io.Reader) error {
	o.output = make(map[string]*strings.Builder)
	for decoder := json.NewDecoder(events); ; {
		var e event
		err := decoder.Decode(&e)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read test output: %w", err)
		}
		o.take(e)
	}
	delete(o.output, "")
	for _, unfinished := range slices.Sorted(maps.Keys(o.output)) {
		o.take(event{Action: "fail", Test: unfinished})
	}
	if o.passed+o.failed == 0 {
		return errors.New("no test ran")
	}
	return nil
}

func (o *outcome) take(e event) {
	text := o.output[e.Test]
	if text == nil {
		text = &strings.Builder{}
		o.output[e.Test] = text
	}
	text.WriteString(e.Output)
	if e.Test == "" { // of the program as a whole: a panic, what it left behind
		if e.Action == "fail" {
			o.shown.WriteString(text.String())
		}
		return
	}
	switch e.Action {
	case "pass":
		o.passed++
	case "fail":
		o.failed++
		o.shown.WriteString(text.String())
	case "skip":
		o.skipped = append(o.skipped, skip{e.Test, reason(text.String())})
	default:
		return
	}
	delete(o.output, e.Test)
}

// reason is what a skipped test said: "file_test.go:12: kernel lacks tcx".
func reason(said string) string {
	for line := range strings.Lines(said) {
		if _, after, found := strings.Cut(line, ".go:"); found {
			if _, text, found := strings.Cut(after, ": "); found {
				return strings.TrimSpace(text)
			}
		}
	}
	return "no reason given"
}
