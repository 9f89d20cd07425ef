package ipsec

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongswan/govici/vici"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/proc"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

// A charon that hangs holds nobody up for long.
func TestAHangingCharonHoldsNobodyUp(t *testing.T) {
	f := newFleet(t, newHarness(t, KindUserspace, 2))
	f.full(t)
	others := make([]tunnel.Peer, 3)
	for i := range others {
		others[i] = f.peer(1)
		others[i].PublicKey, others[i].Prefix = tunnel.PublicKey{byte(1 + i)}, netip.MustParsePrefix(fmt.Sprintf("fd12:3400:1:%x::/64", i))
	}
	f.stop(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := f.drivers[0].Peers(ctx); err == nil {
		t.Error("a stopped charon answers")
	}
	// What follows in the round does not wait for it again.
	begun := time.Now()
	if _, err := f.drivers[0].Peers(t.Context()); !errors.Is(err, errMute) {
		t.Errorf("listing peers: %v", err)
	}
	for _, other := range others {
		if err := f.drivers[0].Put(t.Context(), other); !errors.Is(err, errMute) {
			t.Errorf("putting a peer: %v", err)
		}
	}
	if took := time.Since(begun); took >= callTimeout {
		t.Errorf("the rest of the round took %s", took)
	}
	f.signal(t, unix.SIGCONT)
	deadline := time.Now().Add(tunneltest.DeliverTimeout)
	for { // what has gathered in its socket is answered first
		f.up(t, 0)
		got, err := f.drivers[0].Peers(t.Context())
		if err == nil && got[f.keys[1].Public()].Live {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("peers are %v, %v, want one alive", got, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// One that does not answer for long is killed, and another takes its place.
func TestAHungCharonIsReplaced(t *testing.T) {
	f := newFleet(t, newHarness(t, KindUserspace, 2))
	f.full(t)
	before := f.charon(t, 0).PID
	f.stop(t)
	f.fill(t)
	for range 2 { // one alone does not tell
		if _, err := f.drivers[0].Up(t.Context(), f.device(0)); err == nil {
			t.Error("a stopped charon answers")
		}
	}
	late := time.Now().Add(proc.HangTime)
	f.raw(0).now = func() time.Time { return late }
	f.up(t, 0)
	if now := f.charon(t, 0); now == nil || now.PID == before {
		t.Fatal("it was not replaced")
	}
	f.put(t, 0, f.peer(1))
	f.await(t, 0, 1)
	if !f.lab.Deliver(t, 1, 0, f.device(1).Address, f.device(0).Address, f.device(1).Address) {
		t.Error("a datagram was not delivered")
	}
}

// stop has node 0's charon stand still, and waits until all of its threads do.
func (f *fleet) stop(t *testing.T) {
	t.Helper()
	f.signal(t, unix.SIGSTOP)
	pattern := fmt.Sprintf("/proc/%d/task/*/stat", f.charon(t, 0).PID)
	for deadline := time.Now().Add(tunneltest.DeliverTimeout); ; time.Sleep(time.Millisecond) {
		threads, err := filepath.Glob(pattern)
		if err != nil || len(threads) == 0 || time.Now().After(deadline) {
			t.Fatalf("charon does not stop: %v, %v", threads, err)
		}
		runs := slices.ContainsFunc(threads, func(path string) bool {
			text, err := os.ReadFile(path)
			_, state, ok := strings.Cut(string(text), ") ") // behind the name, proc_pid_stat(5)
			return err != nil || !ok || !strings.HasPrefix(state, "T")
		})
		if !runs {
			return
		}
	}
}

// fill leaves more requests in the socket of node 0's charon, which stands still,
// than it has room for.
func (f *fleet) fill(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(tunneltest.DeliverTimeout); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := talk(ctx, f.dir(0), func(s *vici.Session) error {
			_, err := s.CommandRequest("version", nil)
			return err
		})
		cancel()
		if err == nil {
			t.Fatal("a stopped charon answers")
		}
		c, err := proc.Dial(t.Context(), socketPath(f.dir(0)), time.Now().Add(50*time.Millisecond))
		switch {
		case err == nil:
			_ = c.Close()
		case errors.Is(err, unix.EAGAIN):
			return
		case time.Now().After(deadline): // until then it may be this machine that was late
			t.Fatalf("the socket of a stopped charon does not fill: %v", err)
		}
	}
}

// A daemon that starts finds one that hangs, whether its socket has room for more
// or not, and has another in its place in bounded time.
func TestAHungCharonIsReplacedByANewDriver(t *testing.T) {
	for name, prepare := range map[string]func(*testing.T, *fleet){
		"its socket is full":    func(t *testing.T, f *fleet) { f.fill(t) },
		"its socket has room":   func(*testing.T, *fleet) {},
		"its socket is deleted": func(t *testing.T, f *fleet) { must(t, os.Remove(socketPath(f.dir(0)))) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of its time is spent waiting
			f := newFleet(t, newHarness(t, KindUserspace, 2))
			f.full(t)
			before := f.charon(t, 0)
			f.stop(t)
			prepare(t, f)
			f.drivers[0] = f.driver(t, 0)
			begun := time.Now()
			for {
				_, err := f.drivers[0].Up(t.Context(), f.device(0))
				if err == nil {
					break
				}
				if time.Since(begun) > 2*proc.HangTime {
					t.Fatalf("after %s: %v", time.Since(begun), err)
				}
				time.Sleep(100 * time.Millisecond)
			}
			t.Logf("another serves after %s", time.Since(begun).Round(10*time.Millisecond))
			if ended, err := before.Ended(t.Context(), time.Second); !ended || err != nil {
				t.Errorf("the one before has ended: %v, %v", ended, err)
			}
			f.put(t, 0, f.peer(1))
			f.await(t, 0, 1)
		})
	}
}

// One that hangs does not keep its device from being taken away.
func TestAHungCharonIsTakenDown(t *testing.T) {
	f := newFleet(t, newHarness(t, KindUserspace, 1))
	f.stop(t)
	f.fill(t)
	f.lab.Spaces[0].Must(t, func() error { return RemoveAll(t.Context(), f.runDirs[0], f.raw(0).log) })
	if left := f.leftovers(t, 0); len(left) > 0 {
		t.Errorf("it left %q", left)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
