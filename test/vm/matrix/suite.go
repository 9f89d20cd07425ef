package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// own is the kernel that this runs on.
const own = "own"

// suite is the tests of one package, or those that are chosen of them.
type suite struct {
	name, dir string
	// driver is what all tunnels are to be made by, if it is about one.
	driver string
	// kernels are those that it is chosen for.
	kernels []string
	// run and skip choose tests, as go test has them; empty is all, and none.
	run, skip string
	// skipOn chooses what one kernel need not repeat of another's.
	skipOn map[string]string
	// conform is true for what every driver has to pass, of which parts count.
	conform bool
	program string
}

// oneOf matches tests by their whole names.
func oneOf(tests ...string) string { return "^(" + strings.Join(tests, "|") + ")$" }

// choose returns the suites whose names or drivers match, with all their tests on
// all kernels if wanted, or with those alone that run matches.
func choose(names *regexp.Regexp, all bool, run string) []suite {
	from := chosen
	if all {
		from = everything()
	}
	var suites []suite
	for _, s := range from {
		if !names.MatchString(s.String()) {
			continue
		}
		if run != "" {
			s.run = run
		}
		suites = append(suites, s)
	}
	return suites
}

// String is what a choice looks at: netns ipsec-kernel.
func (s suite) String() string { return strings.TrimSpace(s.name + " " + s.driver) }

// build compiles the tests, without cgo: the program is to be the same wherever
// it runs.
func (s *suite) build(ctx context.Context, dir string) error {
	s.program = filepath.Join(dir, s.name+".test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", s.program, "./"+s.dir)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build tests of %s: %w\n%s", s.dir, err, said)
	}
	return nil
}

// tests are those that there are, and those of them that are to run on a kernel.
func (s *suite) tests(ctx context.Context, bin, kernel string) (all, wanted []string, err error) {
	list := exec.CommandContext(ctx, s.program, "-test.list", ".")
	list.Dir, list.Env = s.dir, append(os.Environ(), "EDGENET_BIN="+bin)
	said, err := list.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("list tests of %s: %w", s.dir, err)
	}
	for line := range strings.Lines(string(said)) {
		if name := strings.TrimSpace(line); strings.HasPrefix(name, "Test") {
			all = append(all, name)
		}
	}
	wanted, err = match(all, s.run, s.leftOut(kernel))
	return all, wanted, err
}

// match returns the tests that go test -run and -skip leave, of which some parts at
// least run.
func match(tests []string, run, skip string) ([]string, error) {
	var wanted, without []*regexp.Regexp
	for _, of := range []struct {
		expression string
		into       *[]*regexp.Regexp
	}{{run, &wanted}, {skip, &without}} {
		for _, one := range alternatives(of.expression) {
			name, parts, _ := strings.Cut(one, "/")
			if parts != "" && of.into == &without {
				continue
			}
			compiled, err := regexp.Compile(name)
			if err != nil {
				return nil, fmt.Errorf("choose tests: %w", err)
			}
			*of.into = append(*of.into, compiled)
		}
	}
	matches := func(test string, choice []*regexp.Regexp) bool {
		return slices.ContainsFunc(choice, func(one *regexp.Regexp) bool { return one.MatchString(test) })
	}
	return slices.DeleteFunc(slices.Clone(tests), func(test string) bool {
		return run != "" && !matches(test, wanted) || matches(test, without)
	}), nil
}

// alternatives splits an expression where go test does: at each bar that is in no
// parentheses.
func alternatives(expression string) []string {
	if expression == "" {
		return nil
	}
	var out []string
	depth, begin := 0, 0
	for i, c := range expression {
		switch c {
		case '(', '[':
			depth++
		case ')', ']':
			depth--
		case '|':
			if depth == 0 {
				out, begin = append(out, expression[begin:i]), i+1
			}
		}
	}
	return append(out, expression[begin:])
}

// leftOut is what go test -skip has on a kernel. Whole tests come first: go test
// looks at no alternative behind one of parts, which may match any test.
func (s *suite) leftOut(kernel string) string {
	all := append(alternatives(s.skip), alternatives(s.skipOn[kernel])...)
	ofParts := func(one string) int { return strings.Count(one, "/") }
	slices.SortStableFunc(all, func(a, b string) int { return cmp.Compare(ofParts(a), ofParts(b)) })
	return strings.Join(all, "|")
}

// slowness is by how much an emulated machine that has to share its processor
// with others is slower than this one, for what waits (EDGENET_SLOWNESS).
const slowness = "4"

// command runs the tests on a kernel.
func (s *suite) command(ctx context.Context, bin, kernel string, limit time.Duration) *exec.Cmd {
	args := []string{"-test.v=test2json", "-test.timeout", max(limit-30*time.Second, time.Second).String()}
	if s.run != "" {
		args = append(args, "-test.run", s.run)
	}
	if skip := s.leftOut(kernel); skip != "" {
		args = append(args, "-test.skip", skip)
	}
	env := append(os.Environ(), "EDGENET_BIN="+bin)
	if s.driver != "" {
		env = append(env, "EDGENET_TUNNEL="+s.driver)
	}
	program := s.program
	if kernel == own {
		env = append(env, "EDGENET_E2E="+os.Getenv("EDGENET_E2E"))
	} else {
		// One at a time: they share one processor.
		args = append([]string{"-limit", limit.String(), "-k", kernel, "--", program, "-test.parallel", "1"}, args...)
		program = filepath.Join(bin, "vmtest")
		env = append(env, "EDGENET_E2E=must", "EDGENET_SLOWNESS="+slowness)
	}
	tests := exec.CommandContext(ctx, program, args...)
	tests.Cancel = func() error { return tests.Process.Signal(os.Interrupt) }
	tests.WaitDelay = 20 * time.Second
	tests.Dir, tests.Env = s.dir, env
	return tests
}

// on runs the suite on a kernel, for as long as there is time.
func (s *suite) on(ctx context.Context, bin, kernel string, limit time.Duration) *outcome {
	o := &outcome{Kernel: kernel, Suite: s.name, Driver: s.driver, parts: s.conform}
	all, wanted, err := s.tests(ctx, bin, kernel)
	if err == nil && limit > leastTime {
		err = s.into(ctx, o, bin, kernel, limit)
	}
	o.leaves(all, wanted)
	if err != nil {
		o.Problem = strings.TrimSpace(err.Error() + "\n" + o.Problem)
	}
	return o
}

// leastTime is what a suite needs to begin.
const leastTime = 5 * time.Second

// into runs the suite and counts its tests in o.
func (s *suite) into(ctx context.Context, o *outcome, bin, kernel string, limit time.Duration) error {
	began := time.Now()
	tests := s.command(ctx, bin, kernel, limit)
	var said, trouble bytes.Buffer
	tests.Stdout, tests.Stderr = &said, &trouble
	ended := tests.Run()
	o.Took = time.Since(began)
	err := o.read(ctx, &said)
	if o.Failed == 0 || trouble.Len() > 0 && kernel != own { // otherwise the tests say it
		err = errors.Join(err, ended)
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, &trouble)
	}
	return err
}

// isFor tells whether the suite is chosen for a kernel.
func (s *suite) isFor(kernel string) bool {
	return len(s.kernels) == 0 || slices.Contains(s.kernels, kernel)
}
