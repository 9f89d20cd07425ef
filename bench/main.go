package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/agent"
)

func main() {
	agent.RunIfAsked()
	only := flag.String("only", "", "measure only what this regular `expression` matches")
	out := flag.String("out", "bench/results.json", "`file` for the results")
	effort := effort{}
	flag.IntVar(&effort.rounds, "rounds", 15, "interleaved `rounds` of each comparison, at least 5")
	flag.Parse()
	chosen, err := regexp.Compile(*only)
	if err != nil || flag.NArg() > 0 || effort.rounds < leastRounds {
		fmt.Fprintf(os.Stderr, "bench: wrong usage; err=%v args=%q rounds=%d\n", err, flag.Args(), effort.rounds)
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	ended := make(chan error)
	go func() { ended <- run(ctx, chosen, effort, *out) }()
	err = <-ended
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// The process's first thread stays in its network namespace, and so with the main
// goroutine, which does nothing: the lab takes a process for one of the namespace
// that this thread is in, and ends it with that.
func init() { runtime.LockOSThread() }

// run measures, prints the table and writes the file. Nothing is written unless
// all that was chosen was measured: a part could pass for the whole.
func run(ctx context.Context, chosen *regexp.Regexp, effort effort, file string) error {
	results, err := measure(ctx, chosen, effort, os.Stderr)
	if err != nil {
		return err
	}
	if err := printTable(os.Stdout, results); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	return writeResults(file, results)
}

// measure runs the benchmarks that give a chosen row, in a lab that is taken
// down and checked for leftovers afterwards.
func measure(ctx context.Context, chosen *regexp.Regexp, effort effort, log io.Writer) ([]result, error) {
	picked := pick(chosen)
	if len(picked) == 0 {
		return nil, fmt.Errorf("choose what to measure: %q matches nothing", chosen)
	}
	lab.Sweep()
	remove, err := lab.Build()
	if err != nil {
		return nil, err
	}
	defer remove()
	var results []result
	err = lab.Run("bench", untilEnd{ctx, log}, func(t lab.TB) {
		w := newWorld(ctx, t, effort)
		for _, b := range picked {
			began := time.Now()
			found, err := b.run(w)
			if ctx.Err() != nil {
				return // whatever err is, the interruption is why
			}
			if err != nil {
				t.Fatalf("measure %v: %v", b.rows, err)
			}
			results = append(results, found...)
			_, _ = fmt.Fprintf(log, "bench: %s and what is measured with it took %v\n", b.rows[0], time.Since(began).Round(time.Second))
		}
	})
	if ctx.Err() != nil {
		return nil, errors.Join(errors.New("interrupted"), err)
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(results, func(r result) bool { return !chosen.MatchString(r.Name) }), nil
}

// untilEnd passes on what is written before its context ends. After that the lab
// explains only what the interruption did.
type untilEnd struct {
	ctx context.Context //nolint:containedctx // a writer is handed none
	to  io.Writer
}

// Write implements io.Writer.
func (u untilEnd) Write(text []byte) (int, error) {
	select {
	case <-u.ctx.Done():
		return len(text), nil
	default:
		return u.to.Write(text)
	}
}
