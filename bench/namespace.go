package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/vishvananda/netns"
)

// within calls do on a thread that is in the network namespace at path.
func within(path string, do func() error) error {
	result := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with this goroutine, and no other ever
		// runs in that namespace by accident.
		runtime.LockOSThread()
		result <- enter(path, do)
	}()
	return <-result
}

func enter(path string, do func() error) error {
	target, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("open namespace %s: %w", path, err)
	}
	err = netns.Set(target)
	if err := errors.Join(err, target.Close()); err != nil {
		return fmt.Errorf("enter namespace %s: %w", path, err)
	}
	return do()
}

// output runs a program in the network namespace at path until it ends or ctx
// does, and returns what it wrote to standard output, with an error too.
func output(ctx context.Context, path, program string, args ...string) (string, error) {
	return outputOf(ctx, path, "", program, args...)
}

// outputOf is output with something on the program's standard input.
func outputOf(ctx context.Context, path, input, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = time.Second
	var stdout, stderr strings.Builder
	if input != "" {
		cmd.Stdin = strings.NewReader(input)
	}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := within(path, cmd.Run)
	if err == nil {
		err = ctx.Err() // a program may end well when it is interrupted
	}
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), err
}

// ipCommands runs ip(8) once for each line, in the network namespace at path.
func ipCommands(ctx context.Context, path string, lines ...string) error {
	for _, line := range lines {
		if _, err := output(ctx, path, "ip", strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}
