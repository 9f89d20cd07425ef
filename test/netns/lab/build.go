package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// programs is where the real programs are, once Build has been called.
var programs string

// Program returns the path of one of edgenet's programs.
func Program(name string) string { return filepath.Join(programs, name) }

// Build finds the programs in $EDGENET_BIN, or builds them, with the race
// detector if EDGENET_RACE is set. The returned function removes what it built.
func Build() (remove func(), err error) {
	if given := os.Getenv("EDGENET_BIN"); given != "" {
		if programs, err = filepath.Abs(given); err != nil {
			return nil, fmt.Errorf("find programs in EDGENET_BIN: %w", err)
		}
		return func() {}, nil
	}
	if programs, err = os.MkdirTemp("", "enbin"); err != nil {
		return nil, fmt.Errorf("make directory for programs: %w", err)
	}
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	args := []string{"build", "-o", programs + "/"}
	if os.Getenv("EDGENET_RACE") != "" {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./cmd/edgenetd", "./cmd/edgenetctl")...)
	cmd.Dir = root
	if output, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build programs: %w\n%s", err, output)
	}
	return func() { _ = os.RemoveAll(programs) }, nil
}

// moduleRoot is the directory of go.mod.
func moduleRoot() (string, error) {
	output, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find module: %w", err)
	}
	return strings.TrimSpace(string(output)), nil
}
