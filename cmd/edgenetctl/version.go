package main

import (
	"context"
	"fmt"
	"runtime"

	"github.com/urfave/cli/v2"

	"edgenet.dev/edgenet/internal/version"
)

func (e *env) versionCommand() *cli.Command {
	return &cli.Command{
		Name:        "version",
		Usage:       "print the version of this tool; status has that of edgenetd",
		Description: "edgenetctl version",
		Action: e.action(func(_ context.Context, s *session) error {
			if _, err := s.arguments(); err != nil {
				return err
			}
			platform := runtime.GOOS + "/" + runtime.GOARCH
			if s.format == formatTable {
				_, err := fmt.Fprintf(s.stdout, "%s %s %s %s\n", program, version.String(), runtime.Version(), platform)
				return err
			}
			return s.encode(object{
				{"version", version.Version},
				{"commit", version.Commit()},
				{"go", runtime.Version()},
				{"platform", platform},
			})
		}),
	}
}
