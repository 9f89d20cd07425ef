package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// recordDir is where outcomes wait for the table.
const recordDir = "bin/matrix"

// record runs a command that prints what go test -json does, shows what failed
// tests said, and keeps the outcome.
func record(ctx context.Context, name string, args []string) error {
	path := filepath.Join(recordDir, name+".json")
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget what was recorded before: %w", err)
	}
	tests := exec.CommandContext(ctx, args[0], args[1:]...)
	tests.Cancel = func() error { return tests.Process.Signal(os.Interrupt) }
	var said bytes.Buffer
	tests.Stdout, tests.Stderr = &said, os.Stderr
	began := time.Now()
	ended := tests.Run()
	o := &outcome{Kernel: own, Suite: name, Took: time.Since(began)}
	if err := errors.Join(o.count(&said), ended); err != nil {
		o.Problem = err.Error()
	}
	o.tell(os.Stdout)
	text, err := json.Marshal(o)
	if err == nil {
		err = os.MkdirAll(recordDir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("record outcome: %w", err)
	}
	if o.bad() {
		return errors.New("not all passed")
	}
	return nil
}

// recall takes what was recorded into the table.
func (r *report) recall(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return fmt.Errorf("find recorded outcomes: %w", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read recorded outcome: %w", err)
		}
		o := &outcome{}
		if err := json.Unmarshal(text, o); err != nil {
			return fmt.Errorf("read recorded outcome %s: %w", path, err)
		}
		r.outcomes = append(r.outcomes, o)
	}
	return nil
}
