package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
)

// TB is what a lab needs of its test; *testing.T is one, and Run makes one for
// programs.
type TB interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Failed() bool
	Cleanup(func())
}

// Run calls do with a TB that is no test's, runs what it registered for the
// end, and returns an error if it failed. Log lines go to log.
func Run(name string, log io.Writer, do func(TB)) error {
	run := &run{name: name, log: log}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer run.cleanUp()
		do(run)
	}()
	<-done
	return errors.Join(run.problems...)
}

// run is the TB of a program.
type run struct {
	name string
	log  io.Writer

	mu       sync.Mutex
	problems []error
	cleanups []func()
}

func (r *run) Helper()      {}
func (r *run) Name() string { return r.name }

func (r *run) Logf(format string, args ...any) {
	_, _ = fmt.Fprintf(r.log, format+"\n", args...)
}

func (r *run) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problems = append(r.problems, fmt.Errorf(format, args...))
}

func (r *run) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// Skipf fails: a program that was asked to run cannot leave it out.
func (r *run) Skipf(format string, args ...any) { r.Fatalf(format, args...) }

func (r *run) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.problems) > 0
}

func (r *run) Cleanup(do func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, do)
}

// cleanUp runs the registered functions, last first, each in a goroutine of its
// own so that a Fatalf in one does not keep the others from running.
func (r *run) cleanUp() {
	for _, do := range slices.Backward(r.cleanups) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			do()
		}()
		<-done
	}
}

// Require stops the test when a privilege is missing: by name on a person's
// machine, as a failure where EDGENET_E2E says must.
func Require(t TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("EDGENET_E2E") == "must" {
		t.Fatalf("needs root to make network namespaces")
	}
	t.Skipf("needs root to make network namespaces")
}
