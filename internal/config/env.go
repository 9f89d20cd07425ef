package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

const envPrefix = "EDGENET_"

func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// elsewhere are the variables of the same prefix that are not edgenetd's: the
// tool's and those of the project's own tests and builds.
var elsewhere = []string{"EDGENET_SOCKET", "EDGENET_E2E", "EDGENET_BIN", "EDGENET_RACE", "EDGENET_ALONE"}

// CheckEnvironment refuses variables that look like settings but are none: a
// misspelt one must not be ignored in silence.
func CheckEnvironment(environ []string, flags []cli.Flag) error {
	known := slices.Clone(elsewhere)
	for _, f := range flags {
		if d, ok := f.(cli.DocGenerationFlag); ok {
			known = append(known, d.GetEnvVars()...)
		}
	}
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, envPrefix) && !slices.Contains(known, name) {
			return fmt.Errorf("environment variable %s: is no setting; known are %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}
