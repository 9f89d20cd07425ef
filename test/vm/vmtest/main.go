// Command vmtest runs one command on a stock Debian kernel:
//
//	vmtest -k 6.1 -- ./isolation.test -test.run TestTenantAcrossHosts
//
// The command sees the host's files, environment and working directory; what it
// writes is lost, but for its output. It takes seconds to boot. vmtest ends
// with the command's exit code, with 124 when the time was up, and with 125 when
// the command could not be run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/test/vm/machine"
)

// Exit codes of its own, as timeout(1) has them.
const (
	exitUsage   = 2
	exitTime    = 124
	exitProblem = 125
)

// The machine's processes are killed with the thread that starts them.
func init() { runtime.LockOSThread() }

func main() {
	machine.RunIfAsked()
	os.Exit(run())
}

func run() int {
	var (
		name    = flag.String("k", "6.12", "the `kernel`: 6.1, 6.12, or 6.1-generic for the one with all drivers")
		limit   = flag.Duration("limit", 10*time.Minute, "how long all of it may take")
		memory  = flag.Int("memory", 2048, "memory in `MiB`")
		cpus    = flag.Int("cpus", 2, "processors")
		verbose = flag.Bool("v", false, "show the kernel's console")
		fetch   = flag.Bool("fetch", false, "only see to it that the kernel is there")
		cache   = flag.String("cache", defaultCache(), "the `directory` where kernels are kept")
	)
	flag.Usage = usage
	flag.Parse()
	if (flag.NArg() == 0) != *fetch {
		usage()
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, *limit, errTime)
	defer cancel()
	kernel, err := machine.Find(ctx, *cache, *name)
	if err == nil && *fetch {
		fmt.Println(kernel.Release)
		return 0
	}
	code := exitProblem
	if err == nil {
		cfg := machine.Config{Kernel: kernel, Processors: *cpus, Memory: *memory, Args: flag.Args(), Output: os.Stdout}
		if *verbose {
			cfg.Console = os.Stderr
		}
		code, err = machine.Run(ctx, cfg)
	}
	if err == nil {
		return code
	}
	fmt.Fprintln(os.Stderr, "vmtest:", err)
	if errors.Is(context.Cause(ctx), errTime) {
		return exitTime
	}
	return exitProblem
}

var errTime = errors.New("the time is up")

func usage() {
	fmt.Fprintf(os.Stderr, "usage: vmtest [-k KERNEL] [flags] -- COMMAND [ARGUMENT...]\n\n"+
		"Runs the command on a stock Debian kernel in a virtual machine, with this\n"+
		"machine's files, environment and working directory.\n\n")
	flag.PrintDefaults()
}

// defaultCache is beside the program: bin/vm.
func defaultCache() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	return filepath.Join(filepath.Dir(self), "vm")
}
