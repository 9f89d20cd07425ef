// Command matrix runs tests with every driver on this machine's kernel and on
// stock ones, one virtual machine for each kernel at a time, and prints what
// passed where. It wants bin/vmtest, bin/edgenetd and bin/edgenetctl (make test-vm
// builds them), and ends with 1 when a test fails, or when no kernel could be had.
//
// With -record it runs one command instead, which prints what go test -json does,
// and keeps its outcome for the table (make test-e2e).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	var (
		kernels = flag.String("k", own+","+strings.Join(stock, ","), "the `kernels`; "+own+" is this machine's")
		only    = flag.String("only", "", "a `regexp` that chooses suites, as netns or netns ipsec-kernel")
		tests   = flag.String("run", "", "a `regexp` that chooses tests of these suites, as go test has it, in the place of what is chosen")
		all     = flag.Bool("all", false, "run all tests with every driver on every kernel, not those chosen for their time")
		total   = flag.Duration("limit", 15*time.Minute, "how long all of it may run")
		save    = flag.String("record", "", "run the command that is given instead, as the `suite` of all drivers on this kernel")
	)
	flag.Parse()
	names, err := regexp.Compile(*only)
	if err != nil || (flag.NArg() > 0) != (*save != "") {
		fmt.Fprintln(os.Stderr, "matrix: want a regexp, and a command with -record alone:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	if *save != "" {
		err = record(ctx, *save, flag.Args())
	} else {
		err = run(ctx, strings.Split(*kernels, ","), choose(names, *all, *tests), *total)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kernels []string, suites []suite, limit time.Duration) error {
	if len(suites) == 0 {
		return errors.New("no suite is chosen")
	}
	bin, err := filepath.Abs("bin")
	if err != nil {
		return err
	}
	if err := buildAll(ctx, filepath.Join(bin, "vm"), suites); err != nil {
		return err
	}
	present, missing := have(ctx, bin, kernels)
	table := report{kernels: present}
	if err := table.recall(recordDir); err != nil {
		return err
	}
	end := time.Now().Add(limit)
	ctx, cancel := context.WithDeadline(ctx, end.Add(inExcess))
	defer cancel()
	var running sync.WaitGroup
	for _, kernel := range present {
		// One after the other: a machine keeps one processor busy.
		if kernel != own {
			running.Go(func() { table.runAll(ctx, bin, kernel, suites, end) })
		}
	}
	running.Wait()
	// By itself: what measures time would share the processors with machines.
	if slices.Contains(present, own) {
		table.runAll(ctx, bin, own, suites, end)
	}
	table.print(os.Stdout)
	for _, problem := range missing {
		fmt.Println(problem)
	}
	switch {
	case table.failed():
		return errors.New("not all passed")
	case len(present) == 0:
		return errors.New("no kernel could be had")
	case len(missing) > 0 && os.Getenv("EDGENET_E2E") == "must":
		return errors.New("not all kernels could be had")
	}
	return nil
}

// inExcess is how long tests may take to end when their time is up.
const inExcess = 30 * time.Second

// buildAll compiles the tests of each package once.
func buildAll(ctx context.Context, dir string, suites []suite) error {
	built := map[string]string{}
	for i := range suites {
		s := &suites[i]
		if built[s.dir] == "" {
			if err := s.build(ctx, dir); err != nil {
				return err
			}
			built[s.dir] = s.program
		}
		s.program = built[s.dir]
	}
	return nil
}

func (r *report) runAll(ctx context.Context, bin, kernel string, suites []suite, end time.Time) {
	for _, s := range suites {
		if s.isFor(kernel) {
			r.add(s.on(ctx, bin, kernel, time.Until(end)))
		}
	}
}

// have fetches the kernels and returns those that are there; missing says of
// each of the others why.
func have(ctx context.Context, bin string, kernels []string) (present, missing []string) {
	for _, kernel := range kernels {
		if kernel == own {
			present = append(present, kernel)
			continue
		}
		said, err := exec.CommandContext(ctx, filepath.Join(bin, "vmtest"), "-fetch", "-k", kernel).CombinedOutput()
		if err != nil {
			text := strings.TrimPrefix(strings.TrimSpace(string(said)), "vmtest: ")
			missing = append(missing, fmt.Sprintf("not run: %s (%v)", text, err))
			continue
		}
		present = append(present, kernel)
	}
	return present, missing
}
