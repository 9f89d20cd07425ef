package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
)

var (
	// programs is where the real programs are, once Build has been called.
	programs string
	// raced is where edgenetd is with the race detector; empty if that is not wanted.
	raced string
)

// Program returns the path of one of edgenet's programs.
func Program(name string) string { return filepath.Join(programs, name) }

// everyRace has hosts of all labs run with the race detector.
var everyRace = os.Getenv("EDGENET_RACE") == "all"

// Build finds the programs in $EDGENET_BIN, or builds them. If EDGENET_RACE is set
// it builds edgenetd with the race detector besides. The returned function removes
// what it built.
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
	if err := build(root, programs, "./cmd/edgenetd", "./cmd/edgenetctl"); err != nil {
		return nil, err
	}
	if os.Getenv("EDGENET_RACE") != "" {
		raced = filepath.Join(programs, "race")
		if err := build(root, raced, "-race", "./cmd/edgenetd"); err != nil {
			return nil, err
		}
	}
	return func() { _ = os.RemoveAll(programs) }, nil
}

// build is go build from the directory of go.mod.
func build(root, into string, args ...string) error {
	cmd := exec.Command("go", append([]string{"build", "-o", into + "/"}, args...)...)
	cmd.Dir = root
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build programs: %w\n%s", err, output)
	}
	return nil
}

// made counts labs by what their hosts run.
var made struct{ raced, plain atomic.Int32 }

// choose picks the edgenetd that the hosts of a lab run.
func (l *Lab) choose(timed bool) {
	if raced == "" || timed && !everyRace {
		l.edgenetd = Program("edgenetd")
		made.plain.Add(1)
		return
	}
	l.edgenetd = filepath.Join(raced, "edgenetd")
	made.raced.Add(1)
}

// moduleRoot is the directory of go.mod.
func moduleRoot() (string, error) {
	output, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find module: %w", err)
	}
	return strings.TrimSpace(string(output)), nil
}
