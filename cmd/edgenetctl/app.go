package main

import (
	"io"

	"github.com/urfave/cli/v2"
)

// newApp is the tree of commands. Every flag of it is a switch or takes a value.
func newApp(e *env) *cli.App {
	app := &cli.App{
		Name:           program,
		Usage:          "drive edgenetd on this host",
		HideHelp:       true,
		HideVersion:    true,
		ErrWriter:      e.stderr,
		Writer:         io.Discard, // what urfave/cli has to say is said by report
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError:   onUsageError,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "socket", Usage: "`PATH` of edgenetd's control socket (or $EDGENET_SOCKET)", Value: e.socket()},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FORMAT` of the answer: table, json or yaml", Value: string(formatTable)},
		},
		Commands: []*cli.Command{
			e.initCommand(),
			e.tokenCommand(),
			e.joinCommand(),
			e.leaveCommand(),
			e.statusCommand(),
			e.meshCommand(),
			e.nodeCommand(),
			e.gossipKeyCommand(),
			e.caCommand(),
			e.tunnelCommand(),
			e.vpcCommand(),
			e.groupCommand(),
			e.endpointCommand(),
			e.grantCommand(),
			e.policyCommand(),
			e.traceCommand(),
			e.flowCommand(),
			e.dropsCommand(),
			e.auditCommand(),
			e.watchCommand(),
			e.eventsCommand(),
			e.doctorCommand(),
			e.versionCommand(),
			e.completionCommand(),
		},
	}
	quiet(app.Commands)
	return app
}

// quiet keeps urfave/cli from answering by itself: help is ours, and so is what
// is said of wrong usage.
func quiet(commands []*cli.Command) {
	for _, c := range commands {
		c.HideHelp = true
		c.OnUsageError = onUsageError
		quiet(c.Subcommands)
	}
}
