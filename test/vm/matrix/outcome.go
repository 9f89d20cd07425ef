package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// outcome is what a suite did on a kernel.
type outcome struct {
	Kernel, Suite string
	// Driver is what tunnels were made by, empty if hosts were free to choose.
	Driver         string
	Passed, Failed int
	Skipped        []skip
	// NotReached are the tests for which there was no time.
	NotReached []string `json:",omitempty"`
	// NotChosen is how many of the suite's tests were not to run.
	NotChosen int
	Took      time.Duration
	// Problem is why the suite as a whole did not go well; empty if it did.
	Problem string
	// shown is what failed tests said.
	shown  strings.Builder
	output map[string]*strings.Builder
	// parts is true where the parts of tests are counted, not the tests that have
	// them.
	parts bool
	// ended has how each test ended, in the order of their ends.
	ended []ended
}

type ended struct{ test, action string }

// skip is a test that did not run, and its reason.
type skip struct{ Test, Reason string }

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
// suite in which no test ran, and none was skipped, did not go well.
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
	for test := range o.output {
		o.take(event{Action: "fail", Test: test})
	}
	o.sum()
	if o.Passed+o.Failed+len(o.Skipped) == 0 {
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
	case "fail":
		o.shown.WriteString(text.String())
	case "skip":
		o.Skipped = append(o.Skipped, skip{e.Test, reason(text.String())})
	default:
		return
	}
	o.ended = append(o.ended, ended{e.Test, e.Action})
	delete(o.output, e.Test)
}

// sum adds up what ended: tests, or their parts.
func (o *outcome) sum() {
	for _, e := range o.ended {
		part := strings.Contains(e.test, "/")
		if o.parts {
			if slices.ContainsFunc(o.ended, func(other ended) bool { return strings.HasPrefix(other.test, e.test+"/") }) && e.action == "pass" {
				continue
			}
		} else if part {
			continue
		}
		switch e.action {
		case "pass":
			o.Passed++
		case "fail":
			o.Failed++
		}
	}
}

// leaves notes what of all tests did not run: those that were to, by name, and how
// many were not.
func (o *outcome) leaves(all, wanted []string) {
	seen := map[string]bool{}
	for _, e := range o.ended {
		name, _, _ := strings.Cut(e.test, "/")
		seen[name] = true
	}
	o.NotReached = slices.DeleteFunc(wanted, func(test string) bool { return seen[test] })
	if len(o.NotReached) > 0 {
		o.Problem = strings.TrimSpace(o.Problem + "\nnot reached: " + strings.Join(o.NotReached, ", "))
	}
	if !o.parts {
		o.NotChosen = max(len(all)-len(seen)-len(o.NotReached), 0)
	}
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
