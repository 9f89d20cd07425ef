// Command edgenetd is the daemon of edgenet: it runs on every host.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"edgenet.dev/edgenet/internal/config"
	"edgenet.dev/edgenet/internal/version"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard/userspace"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == userspace.Command {
		os.Exit(userspace.Main(os.Args[2:]))
	}
	tuneMemory()
	os.Exit(run(os.Args))
}

// The daemon keeps little and allocates in bursts: with the runtime's standard
// of 100 % it collected during every second attach, on all processors. Above
// memoryTarget bytes it saves memory instead.
const (
	collectAt    = 400
	memoryTarget = 96 << 20
)

// tuneMemory sets when the garbage collector runs, unless the environment does.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryTarget)
	}
}

// run returns the exit code: 1 for an error, 2 for wrong usage.
func run(args []string) int {
	app := newApp()
	if err := app.RunContext(context.Background(), args); err != nil {
		fmt.Fprintf(os.Stderr, "edgenetd: %v\n", err)
		var usage usageError
		if errors.As(err, &usage) {
			return 2
		}
		return 1
	}
	return 0
}

// usageError is an error in how the program was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func newApp() *cli.App {
	return &cli.App{
		Name:            "edgenetd",
		Usage:           "join this host to an edge cloud's overlay network",
		UsageText:       "edgenetd [settings]\n   edgenetd --cleanup [settings]",
		Version:         version.String(),
		HideHelpCommand: true,
		Description: "Settings come from flags, the environment (EDGENET_NAME for --name, and so on)\n" +
			"and a YAML file with the same names, in this order of precedence.\n" +
			"Tunnels, endpoints and rules stay in force when edgenetd ends; edgenetctl leave\n" +
			"or edgenetd --cleanup takes them away.\n\n" +
			"Example: edgenetd --name edge-1 --underlay 198.18.0.2",
		Flags: append(config.Flags(), &cli.BoolFlag{
			Name:  "cleanup",
			Usage: "take all that edgenetd made in this network namespace away, keep the state directory, and end",
		}),
		OnUsageError: func(_ *cli.Context, err error, _ bool) error { return usageError{err} },
		// Errors and their exit codes are main's business.
		ExitErrHandler: func(*cli.Context, error) {},
		Action:         action,
	}
}

func action(c *cli.Context) error {
	if c.Args().Present() {
		return usageError{fmt.Errorf("unexpected argument %q; settings are flags, see edgenetd --help", c.Args().First())}
	}
	unknown, err := config.CheckEnvironment(os.Environ(), c.App.Flags)
	if err != nil {
		return usageError{err}
	}
	if c.Bool("cleanup") {
		return cleanup(c)
	}
	cfg, err := config.Load(c)
	if err != nil {
		return usageError{err}
	}
	log := newLogger(cfg)
	for _, name := range unknown {
		log.Warn("environment variable is no setting of edgenetd's", "variable", name)
	}
	return serve(c.Context, cfg, log)
}
