package ipsec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/proc"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

// A charon that is not there, or is none, is an error in words, and nothing of it
// is left running.
func TestWhatIsNoCharonIsReported(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "pid")
	script := func(text string) string {
		path := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(path, []byte("#!/bin/sh\necho $$ >"+mark+"\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	h := newHarness(t, KindUserspace, 1)
	for _, c := range []struct {
		name, program, says string
		is                  error
	}{
		{"no program", "/nowhere/charon", "charon-systemd", tunnel.ErrUnsupported},
		{"a program that ends", script("echo it is too cold here; exit 1"), "it is too cold here", nil},
		{"a program that says nothing", script("exec sleep 1000"), "", context.DeadlineExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := h.driver(t, 0).(tunneltest.Spaced)
			own := d.Driver.(*driver)
			own.cfg.Program = c.program
			patience := tunneltest.DeliverTimeout
			if errors.Is(c.is, context.DeadlineExceeded) { // the others end by themselves
				patience = 200 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := d.Up(ctx, h.device(0))
			if err == nil || !strings.Contains(err.Error(), c.says) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("error is %v, want one about %q that is %v", err, c.says, c.is)
			}
			if own.pid != 0 {
				t.Errorf("process %d is still remembered", own.pid)
			}
			if text, err := os.ReadFile(mark); err == nil {
				var pid int
				if _, err := fmt.Sscan(string(text), &pid); err != nil || !errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
					t.Errorf("process %s is left: %v", text, err)
				}
			}
			if err := d.Down(t.Context()); err != nil {
				t.Errorf("down: %v", err)
			}
			if left := h.leftovers(t, 0); len(left) > 0 {
				t.Errorf("down left %q", left)
			}
		})
	}
}

// A daemon that was killed while it started charon, at whatever step, hinders no other,
// and nothing of it is left when the device goes.
func TestAKilledStartLeavesNothing(t *testing.T) {
	for name, leave := range map[string]func(*driver) error{
		"the directory": func(d *driver) error { return os.MkdirAll(d.dir, 0o700) },
		"half of the settings": func(d *driver) error {
			return errors.Join(os.MkdirAll(d.dir, 0o700), os.WriteFile(settingsPath(d.dir)+".new", []byte("charon {"), 0o600))
		},
		"the settings": func(d *driver) error {
			return errors.Join(os.MkdirAll(d.dir, 0o700), writeSettings(settingsPath(d.dir), settings(d.cfg.Kind, d.dir, listenPort)))
		},
		"a charon without a socket yet": func(d *driver) error { return d.spawn(settings(d.cfg.Kind, d.dir, listenPort)) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, KindUserspace, 1)
			before := h.driver(t, 0).(tunneltest.Spaced)
			before.Space.Must(t, func() error { return leave(before.Driver.(*driver)) })
			newFleet(t, h)
			var all []*proc.Process
			before.Space.Must(t, func() (err error) {
				all, err = proc.Started(startOf(DefaultProgram, h.dir(0)))
				return err
			})
			defer proc.CloseAll(all)
			if len(all) != 1 || all[0].PID != h.charon(t, 0).PID {
				t.Errorf("the charons are %v, want one", all)
			}
			h.lab.Spaces[0].Must(t, func() error {
				return errors.Join(os.RemoveAll(socketPath(h.dir(0))), RemoveAll(t.Context(), h.runDirs[0], before.Driver.(*driver).log))
			})
			if left := h.leftovers(t, 0); len(left) > 0 {
				t.Errorf("it left %q", left)
			}
		})
	}
}

// A charon's log does not grow for ever, and goes on.
func TestTheLogIsBounded(t *testing.T) {
	f := newFleet(t, newHarness(t, KindUserspace, 1))
	text, err := os.ReadFile(logPath(f.dir(0)))
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat(string(text), maxLog/len(text)+1)
	out, err := os.OpenFile(logPath(f.dir(0)), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = out.WriteString(long)
		err = errors.Join(err, out.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	f.up(t, 0)
	deadline := time.Now().Add(tunneltest.DeliverTimeout)
	for { // it says that it has read its settings anew
		st, err := os.Stat(logPath(f.dir(0)))
		if err == nil && st.Size() > 0 && st.Size() < maxLog {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log is %v, %v", st, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if st, err := os.Stat(logPath(f.dir(0)) + ".1"); err != nil || st.Size() < maxLog {
		t.Errorf("the log before is %v, %v", st, err)
	}
}
