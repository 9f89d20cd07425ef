package main

import (
	"context"
	_ "embed" // the scripts
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// The scripts only ask the tool itself: it knows its commands, and through the
// socket what there is to name.
var (
	//go:embed completion/bash.sh
	bashScript string
	//go:embed completion/zsh.sh
	zshScript string
	//go:embed completion/fish.fish
	fishScript string
)

var completionScripts = map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}

func (e *env) completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a script that completes commands, flags and names in a shell",
		ArgsUsage: "bash|zsh|fish",
		Description: "source <(edgenetctl completion bash)\n" +
			"source <(edgenetctl completion zsh)\n" +
			"edgenetctl completion fish | source",
		Action: e.action(func(_ context.Context, s *session) error {
			args, err := s.arguments("SHELL")
			if err != nil {
				return err
			}
			script, ok := completionScripts[args[0]]
			if !ok {
				shells := slices.Sorted(maps.Keys(completionScripts))
				return usagef("unknown shell %q: write %s", args[0], strings.Join(shells, ", "))
			}
			_, err = fmt.Fprint(s.stdout, script)
			return err
		}),
	}
}
