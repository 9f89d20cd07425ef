// Command matrix runs chosen tests on stock kernels, one virtual machine for
// each kernel at a time, and prints what passed where. It wants bin/vmtest,
// bin/edgenetd and bin/edgenetctl (make test-vm builds them), and ends with 1
// when a test fails, or when no kernel could be had.
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
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	var (
		kernels = flag.String("k", "6.1,6.12", "the `kernels`")
		only    = flag.String("only", "", "a `regexp` that chooses suites")
		all     = flag.Bool("all", false, "run all tests of the suites, not those chosen for their time")
		total   = flag.Duration("limit", 20*time.Minute, "how long the machines may run")
	)
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	names, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	err = run(ctx, strings.Split(*kernels, ","), choose(names, *all), *total)
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
	for i := range suites {
		if err := suites[i].build(ctx, filepath.Join(bin, "vm")); err != nil {
			return err
		}
	}
	present, missing := have(ctx, bin, kernels)
	end := time.Now().Add(limit)
	var (
		table   report
		running sync.WaitGroup
	)
	for _, kernel := range present {
		// One after the other: a machine keeps one processor busy.
		running.Go(func() {
			for _, s := range suites {
				table.add(s.on(ctx, bin, kernel, time.Until(end)))
			}
		})
	}
	running.Wait()
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

// have fetches the kernels and returns those that are there; missing says of
// each of the others why.
func have(ctx context.Context, bin string, kernels []string) (present, missing []string) {
	for _, kernel := range kernels {
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
