package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"
)

const envPrefix = "EDGENET_"

// misspelt is how many letters a variable may differ by to be taken for one that
// is written wrong.
const misspelt = 2

func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// elsewhere are the variables of the same prefix that are not edgenetd's: the
// tool's and those of the project's own tests and builds.
var elsewhere = []string{"EDGENET_SOCKET", "EDGENET_E2E", "EDGENET_BIN", "EDGENET_RACE", "EDGENET_ALONE", "EDGENET_SLOWNESS"}

// CheckEnvironment refuses variables that were meant as settings and are written
// wrong, and returns others that are none: the environment is not edgenetd's
// alone, so those are no error, but worth a word.
func CheckEnvironment(environ []string, flags []cli.Flag) (unknown []string, err error) {
	var settings []string
	for _, f := range flags {
		if d, ok := f.(cli.DocGenerationFlag); ok {
			settings = append(settings, d.GetEnvVars()...)
		}
	}
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(settings, name) || slices.Contains(elsewhere, name) {
			continue
		}
		for _, s := range settings {
			if smetrics.WagnerFischer(name, s, 1, 1, 1) <= misspelt {
				return nil, fmt.Errorf("environment variable %s: is no setting; did you mean %s?", name, s)
			}
		}
		unknown = append(unknown, name)
	}
	return unknown, nil
}
