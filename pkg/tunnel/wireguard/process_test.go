package wireguard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
	"edgenet.dev/edgenet/pkg/tunnel/internal/proc"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

var discard = slog.New(slog.DiscardHandler)

// contextOfCleanup is for clean-up functions: a test's own is done by then.
func contextOfCleanup() context.Context { return context.Background() }

// The process must not keep anything of the daemon's that the daemon, or
// whoever supervises it, waits for or wants to be rid of.
func TestProcessHoldsNothingOfItsParents(t *testing.T) {
	n := newNode(t)
	inherited, err := os.Create(filepath.Join(t.TempDir(), "inherited"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = inherited.Close() }()
	// As a shell's descriptors are: not to be closed by an exec.
	if _, err := unix.FcntlInt(inherited.Fd(), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
	t.Setenv("EDGENET_SECRET", "for the daemon")
	n.up(t)
	p := n.process(t, tunneltest.Left)
	defer p.Close()
	proc := fmt.Sprintf("/proc/%d/", p.PID)

	if cwd, err := os.Readlink(proc + "cwd"); err != nil || cwd != "/" {
		t.Errorf("working directory is %q, %v, want /", cwd, err)
	}
	if sid, err := unix.Getsid(p.PID); err != nil || sid != p.PID {
		t.Errorf("session is %d, %v, want its own, %d", sid, err, p.PID)
	}
	if env, err := os.ReadFile(proc + "environ"); err != nil || strings.Contains(string(env), "EDGENET") {
		t.Errorf("environment is %q, %v", env, err)
	}
	for _, fd := range []string{"0", "1", "2"} {
		want := map[string]string{"0": os.DevNull}[fd]
		if want == "" {
			want = filepath.Join(n.runDir[tunneltest.Left], "wireguard-"+n.want.Name+".log")
		}
		if got, err := os.Readlink(proc + "fd/" + fd); err != nil || got != want {
			t.Errorf("descriptor %s is %q, %v, want %s", fd, got, err, want)
		}
	}
	if shared := sharedFiles(t, proc+"fd"); len(shared) > 0 {
		t.Errorf("descriptors %q are this process's too", shared)
	}
}

// sharedFiles returns the pipes, sockets and test files of this process that
// the other one has open too.
func sharedFiles(t *testing.T, theirs string) []string {
	t.Helper()
	ours := openFiles(t, "/proc/self/fd")
	var shared []string
	for file := range openFiles(t, theirs) {
		unique := strings.Contains(file, ":[") && !strings.HasPrefix(file, "anon_inode")
		if (unique || strings.HasSuffix(file, "/inherited")) && ours[file] {
			shared = append(shared, file)
		}
	}
	return shared
}

func openFiles(t *testing.T, dir string) map[string]bool {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]bool)
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			files[target] = true
		}
	}
	return files
}

// A process that is stopped must not stop its caller.
func TestStoppedProcessHoldsNobodyUp(t *testing.T) {
	n := newNode(t)
	n.up(t)
	p := n.process(t, tunneltest.Left)
	defer p.Close()
	if err := p.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	awaitStopped(t, p)
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := n.Peers(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v, want %v", err, context.DeadlineExceeded)
	}
	if _, err := n.Up(t.Context(), n.want); !errors.Is(err, errBusy) {
		t.Errorf("error is %v, want %v", err, errBusy)
	}
	if err := p.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if hung := n.Driver.(tunneltest.Spaced).Driver.(*driver).hung; hung != nil {
		<-hung
	}
	n.up(t)
}

// One that does not answer for long is killed, and another takes its place.
func TestAHungProcessIsReplaced(t *testing.T) {
	n := newNode(t)
	n.up(t)
	d := n.Driver.(tunneltest.Spaced).Driver.(*driver)
	p := n.process(t, tunneltest.Left)
	defer p.Close()
	if err := p.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	awaitStopped(t, p)
	for range 2 {
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, err := n.Up(short, n.want); err == nil {
			t.Error("a stopped process answers")
		}
		cancel()
	}
	soon := n.process(t, tunneltest.Left)
	defer soon.Close()
	if soon.PID != p.PID {
		t.Error("it was killed too soon")
	}
	late := time.Now().Add(proc.HangTime)
	d.now = func() time.Time { return late }
	n.up(t)
	now := n.process(t, tunneltest.Left)
	defer now.Close()
	if now.PID == p.PID {
		t.Error("it was not replaced")
	}
}

// awaitStopped waits until every thread of the process stands still.
func awaitStopped(t *testing.T, p *proc.Process) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for time.Now().Before(deadline) {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.PID))
		if err != nil {
			t.Fatal(err)
		}
		stopped := 0
		for _, task := range tasks {
			stat, err := os.ReadFile(task)
			if err == nil && strings.Contains(string(stat), ") T ") {
				stopped++
			}
		}
		if stopped > 0 && stopped == len(tasks) {
			return
		}
	}
	t.Fatalf("process %d does not stop", p.PID)
}

// A start that takes too long is given up, and its process is not left.
func TestStartEndsWithItsContext(t *testing.T) {
	n := newNode(t)
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	d := n.Driver.(tunneltest.Spaced).Driver.(*driver)
	d.cfg.Executable = path
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := n.Up(short, n.want); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v, want %v", err, context.DeadlineExceeded)
	}
	if d.pid != 0 {
		t.Errorf("process %d is still remembered", d.pid)
	}
}

// What is right is not even written again: the kernel tells nobody of a change.
func TestSecondUpChangesNothing(t *testing.T) {
	n := newNode(t)
	n.up(t)
	n.settled(t)
	done := make(chan struct{})
	links := make(chan netlink.LinkUpdate, 100)
	addrs := make(chan netlink.AddrUpdate, 100)
	routes := make(chan netlink.RouteUpdate, 100)
	n.space.Must(t, func() error {
		return errors.Join(netlink.LinkSubscribe(links, done),
			netlink.AddrSubscribe(addrs, done), netlink.RouteSubscribe(routes, done))
	})
	n.up(t)
	// One own change of each kind, which must be the first that is told.
	marker := device.IPNet(device.PrefixOf(device.IPNet(n.Peer(tunneltest.Right).Prefix)))
	n.space.Must(t, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return errors.Join(
			netlink.LinkSetAlias(lo, "marker"),
			tunneltest.Lend(n.Peer(tunneltest.Right).Prefix.Addr()),
			netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: marker}),
		)
	})
	if l := <-links; l.Attrs().Name != "lo" {
		t.Errorf("link %s was changed", l.Attrs().Name)
	}
	if a := <-addrs; !a.LinkAddress.IP.Equal(n.Peer(tunneltest.Right).Prefix.Addr().AsSlice()) {
		t.Errorf("address %s was changed", &a.LinkAddress)
	}
	if r := <-routes; !n.Peer(tunneltest.Right).Prefix.Contains(device.PrefixOf(r.Dst).Addr()) {
		t.Errorf("route %s was changed", r.Route)
	}
	close(done)
	drain(links)
	drain(addrs)
	drain(routes)
}

// settled waits for what the kernel does some time after an address was added:
// it tells of the address once more, and makes the local route.
func (n *node) settled(t *testing.T) {
	t.Helper()
	for local := false; !local; {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
		n.space.Must(t, func() error {
			routes, err := netlink.RouteGet(n.want.Address.AsSlice())
			local = err == nil && routes[0].Type == unix.RTN_LOCAL
			return err
		})
	}
}

// drain waits until a subscription has ended.
func drain[T any](c <-chan T) {
	for range c { //nolint:revive // the channel is emptied
	}
}

// A daemon's end leaves the process, and the next daemon adopts it.
func TestProcessOutlivesTheDaemon(t *testing.T) {
	n := newNode(t)
	n.runDaemon(t)
	p := n.process(t, tunneltest.Left)
	if p == nil {
		t.Fatal("the process has ended with its daemon")
	}
	defer p.Close()
	before := n.index(t)
	n.up(t)
	after := n.process(t, tunneltest.Left)
	defer after.Close()
	if after.PID != p.PID || n.index(t) != before {
		t.Errorf("process and device are %d and %d, want %d and %d", after.PID, n.index(t), p.PID, before)
	}
	if got := n.Name(); got != NameUserspace {
		t.Errorf("driver is %s, want %s", got, NameUserspace)
	}
}

func TestThousandPeersArePutWithoutReadingEach(t *testing.T) {
	n := newNode(t)
	n.up(t)
	const count = 1000
	peers := make([]tunnel.Peer, count)
	for i := range peers {
		peers[i] = n.Rekey(t, tunneltest.Right)
		prefix := peers[i].Prefix.Addr().As16()
		prefix[6], prefix[7] = byte(i>>8)+1, byte(i)
		peers[i].Prefix = prefixFrom(prefix)
		peers[i].Keepalive = 0
	}
	for _, round := range []string{"first", "second"} {
		start := time.Now()
		for _, p := range peers {
			if err := n.Put(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%s round of %d puts took %s", round, count, time.Since(start))
	}
	got, err := n.Peers(t.Context())
	if err != nil || len(got) != count {
		t.Fatalf("%d peers, %v, want %d", len(got), err, count)
	}
	for _, p := range peers {
		if got[p.PublicKey].Peer != p {
			t.Fatalf("peer is %+v, want %+v", got[p.PublicKey].Peer, p)
		}
	}
}
