package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const program = "edgenetctl"

// Exit codes.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, &env{
		stdin:  os.Stdin,
		stdout: os.Stdout,
		stderr: os.Stderr,
		getenv: os.Getenv,
		dial: func(ctx context.Context, socket string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		now:     time.Now,
		examine: examineHost,
	}, os.Args[1:])
	stop()
	os.Exit(code)
}

// run executes one command line, without the program's name, and returns the
// exit code.
func run(ctx context.Context, e *env, args []string) int {
	app := newApp(e)
	if len(args) > 0 && args[0] == completeWord {
		complete(ctx, e, app, args[1:])
		return exitOK
	}
	line, err := arrange(app, args)
	switch {
	case err != nil:
	case line.help:
		err = writeHelp(e.stdout, app, line)
	default:
		err = app.RunContext(ctx, line.argv())
	}
	return report(e, line, err)
}

// report says on stderr what went wrong, in one line, and for wrong usage in a
// second one what would be right.
func report(e *env, line *commandLine, err error) int {
	if err == nil {
		return exitOK
	}
	if errors.As(err, new(differentError)) {
		return exitDifferent
	}
	text := printable(strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; "))
	code, message := exitError, program+": "+text
	if isUsage(err) {
		code, message = exitUsage, strings.Join(line.words(), " ")+": "+text+"\n"+line.hint()
	}
	_, _ = fmt.Fprintln(e.stderr, message) // the exit code says it too
	return code
}
