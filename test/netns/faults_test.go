package netns

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/agent"
)

// What is promised of faults, by how long no packet gets through at most; where it
// is 0, none is lost.
const (
	// crashTime is for a process of the tunnels that dies.
	crashTime = time.Second
	// repairTime is for what others change behind edgenetd's back, and for the word
	// about it in the log.
	repairTime = 5 * time.Second
	// hangTime is for a process of the tunnels that stands still: 10 s to be sure,
	// what two calls take, and the rounds between them on a busy host.
	hangTime = 20 * time.Second
)

// ground is two hosts of one driver, with traffic between them, and whoever listens
// on their wire. What happens, happens on the first.
type ground struct {
	*lab.Lab
	t         *testing.T
	near, far *lab.Host
	web, db   *lab.Container
	root      *lab.Container // with root's rights on near
	driver    string
}

// fault is something that happens, and what is promised then.
type fault struct {
	promise string
	do      func(g *ground)
	// says are the words of a line at warn of which there has to be one.
	says string
	// bound is how long packets may be lost, in one direction or both, and kernelIPsec
	// how long with the kernel's IPsec, if that is longer.
	bound, kernelIPsec time.Duration
	// drivers that it can happen to; none is all.
	drivers string
}

// Everything that a host's tunnels may meet, one after the other on one mesh, while
// tenants talk: with each driver that this machine can run. Nobody on the wire reads
// a word of it.
//
//	edge-1: web ══ 10 ms pings both ways, a connection ══ edge-2: db
//
// $EDGENET_LAB_FAULTS, a regexp, chooses those that it matches.
func TestFaults(t *testing.T) {
	chosen := regexp.MustCompile(os.Getenv("EDGENET_LAB_FAULTS"))
	withEachDriver(t, func(t *testing.T, l *lab.Lab, driver string) {
		g := newGround(t, l, driver)
		g.unread(func() {
			for _, f := range slices.Concat(restarts, crashes, changes) {
				if strings.Contains(driver, f.drivers) && chosen.MatchString(f.promise) {
					g.meets(f)
				}
			}
		})
	})
}

// unread does something that nobody on the wire may read a word of.
func (g *ground) unread(do func()) {
	g.t.Helper()
	inside, wire := g.web.Spies("eth0"), g.near.Spies(otherPort)
	do()
	if report := inside.Stop(); report.Marked == 0 {
		g.t.Errorf("of %d frames of a container none has what it sent", report.Frames)
	}
	report := wire.SeesNothing()
	lab.Note(g.t, lab.Figure{
		Promise: "whoever listens reads nothing, in any phase of all this", Driver: g.driver,
		Measured: fmt.Sprintf("%d of %d frames", report.Marked+report.Odd, report.Frames), Bound: "0",
	})
}

// meets has a fault happen under traffic, and holds what follows to the promise.
func (g *ground) meets(f fault) {
	g.t.Helper()
	if g.driver == "ipsec-kernel" {
		f.bound = max(f.bound, f.kernelIPsec)
	}
	traffic := run(g.web, g.db)
	traffic.flow.Runs()
	g.settles()
	said, begun := len(g.near.Log()), time.Now()
	f.do(g)
	word := ""
	if f.says != "" {
		g.AwaitWithin(lab.Busy(max(f.bound, repairTime)), fmt.Sprintf("%s: edge-1 says %q", f.promise, f.says), func() error {
			for _, line := range g.near.Warnings(said) {
				if strings.Contains(line, f.says) {
					return nil
				}
			}
			return fmt.Errorf("it says %q", g.near.Warnings(said))
		})
		word = fmt.Sprintf(", in the log after %s", time.Since(begun).Round(10*time.Millisecond))
	}
	traffic.flow.Runs()
	there, back := traffic.pings[0].Stop(), traffic.pings[1].Stop()
	flow := traffic.flow.Stop()
	gap := max(longest(there), longest(back))
	lab.Note(g.t, lab.Figure{
		Promise: f.promise, Driver: g.driver,
		Measured: fmt.Sprintf("%d of %d pings and %d of %d back lost, %s at a time; the connection stood still for %s%s",
			len(there.Lost), there.Sent, len(back.Lost), back.Sent, gap, flow.Longest.Round(10*time.Millisecond), word),
		Bound: bound(f.bound),
	})
	if lab.Slow(f.bound) < gap {
		g.t.Errorf("%s: nothing got through for %s, want at most %s", f.promise, gap, f.bound)
	}
	if flow.Ended != "" {
		g.t.Errorf("%s: the connection ended: %s", f.promise, flow.Ended)
	}
}

// settles waits until the round is over that a start of edgenetd leaves under way,
// in which it opens its datapath: nothing is mended before.
func (g *ground) settles() {
	g.t.Helper()
	g.Await("edge-1 tells of its datapath", func() error {
		_, err := g.near.API().Status()
		return err
	})
}

func bound(d time.Duration) string {
	if d == 0 {
		return "0 lost"
	}
	return d.String()
}

// longest is the time from the first to the last of those lost ones that follow one
// another, and the interval.
func longest(report agent.PingReport) time.Duration {
	most, row := 0, 0
	for i, number := range report.Lost {
		if i > 0 && report.Lost[i-1]+1 == number {
			row++
		} else {
			row = 1
		}
		most = max(most, row)
	}
	return time.Duration(most) * report.Interval
}

var restarts = []fault{
	{promise: "edgenetd is restarted", do: func(g *ground) { g.near.Restart(); g.AwaitMesh(g.near, g.far) }},
	{promise: "edgenetd is killed", do: func(g *ground) {
		g.near.Kill()
		g.near.Start()
		g.AwaitMesh(g.near, g.far)
	}},
	{promise: "edgenetd is upgraded", do: func(g *ground) {
		for range 2 { // the second time, what is replaced is a file that was run before
			g.near.Upgrade()
			g.near.Restart()
		}
		g.AwaitMesh(g.near, g.far)
	}},
}

var crashes = []fault{
	{
		promise: "the process of the tunnels is killed", drivers: "userspace", bound: crashTime, says: "another is started",
		do: func(g *ground) { g.signal(unix.SIGKILL) },
	},
	{
		promise: "charon is killed", drivers: "ipsec-kernel", bound: crashTime, says: "another is started",
		do: func(g *ground) { g.signal(unix.SIGKILL) },
	},
	{
		promise: "the process of the tunnels stands still", drivers: "userspace", bound: hangTime, says: "it is killed, and another",
		do: func(g *ground) { g.signal(unix.SIGSTOP) },
	},
	{
		promise: "charon stands still", drivers: "ipsec-kernel", bound: crashTime, says: "it is killed, and another",
		do: func(g *ground) { g.signal(unix.SIGSTOP) },
	},
}

// signal sends one to the process of near's tunnels.
func (g *ground) signal(s unix.Signal) {
	g.t.Helper()
	if count := g.near.SignalTunnels(g.process(), s); count != 1 {
		g.t.Fatalf("%d processes of tunnels, want 1", count)
	}
}

// process is a word of the command line of the driver's process.
func (g *ground) process() string {
	if strings.HasPrefix(g.driver, "ipsec") {
		return "charon"
	}
	return "wireguard-userspace"
}
