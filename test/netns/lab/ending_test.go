package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A daemon that a signal does not end is asked where it hangs before it is killed.
func TestADaemonThatHangsSaysWhere(t *testing.T) {
	for _, c := range []struct{ name, script, says string }{
		{"it says", `trap "" TERM; trap "echo here; exit 2" QUIT; echo up; while :; do sleep 0.02; done`, "up\nhere"},
		{"it is mute", `trap "" TERM QUIT; echo up; while :; do sleep 0.02; done`, "up"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := quitTime
			quitTime = time.Second
			t.Cleanup(func() { quitTime = before })
			d, said := script(t, c.script)
			if err := d.end(unix.SIGTERM, 50*time.Millisecond); !errors.Is(err, errHangs) {
				t.Errorf("it ended with %v, want %v", err, errHangs)
			}
			if got := said(); got != c.says {
				t.Errorf("it said %q, want %q", got, c.says)
			}
		})
	}
	d, _ := script(t, `trap "exit 3" TERM; echo up; while :; do sleep 0.02; done`)
	if err := d.end(unix.SIGTERM, patience); err == nil || errors.Is(err, errHangs) || d.cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("what ends by itself ended with %v, want exit 3", err)
	}
}

// script starts a shell that runs text, and returns when it has said "up", with the
// file that has all that it says.
func script(t *testing.T, text string) (d *daemon, said func() string) {
	t.Helper()
	output, err := os.Create(filepath.Join(t.TempDir(), "said"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", text)
	cmd.Stdout = output
	if err := errors.Join(cmd.Start(), output.Close()); err != nil {
		t.Fatal(err)
	}
	said = func() string {
		text, err := os.ReadFile(output.Name())
		if err != nil {
			t.Error(err)
		}
		return strings.TrimSpace(string(text))
	}
	Await(t, "the script is up", func() error {
		if got := said(); got != "up" {
			return fmt.Errorf("it said %q", got)
		}
		return nil
	})
	return watch(cmd), said
}
