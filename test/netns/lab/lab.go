package lab

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"
)

// underlay is where the hosts of every lab talk to one another: a prefix for
// benchmarks of network devices (RFC 2544), in a namespace of its own.
var underlay = netip.MustParsePrefix("198.18.0.0/24")

// underlay6 is the same over IPv6: a prefix for benchmarks, too (RFC 5180).
var underlay6 = netip.MustParsePrefix("2001:2:0:1::/64")

// labs numbers the labs of this process.
var labs atomic.Uint32

// Lab is one small world: an "internet" and the hosts on it.
type Lab struct {
	t TB
	// dir holds everything of this lab. Its path is short: sockets are in it.
	dir string
	// prefix begins the name of every namespace of this lab.
	prefix   string
	internet *namespace
	// underlay is where hosts get their addresses from.
	underlay netip.Prefix
	// edgenetd is the program of its hosts.
	edgenetd string
	// driver is the one that hosts use, if that is not $EDGENET_TUNNEL's business.
	driver     string
	hosts      []*Host
	containers []*Container
	strangers  []*Container
	// tapper sits in the internet's namespace, nil until needed.
	tapper *Container
}

// New makes an empty lab that is taken down and checked when the test ends. Its
// hosts run with the race detector if $EDGENET_RACE is set.
func New(t TB) *Lab {
	t.Helper()
	return newLab(t, false)
}

// NewTimed is New for a test that measures time, or what is lost in a time. Its hosts
// run with the race detector only if $EDGENET_RACE is "all".
func NewTimed(t TB) *Lab {
	t.Helper()
	return newLab(t, true)
}

func newLab(t TB, timed bool) *Lab {
	t.Helper()
	Require(t)
	needsDrivers(t)
	prefix := fmt.Sprintf("%s%d-%d-", namePrefix, os.Getpid(), labs.Add(1))
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		t.Fatalf("make lab directory: %v", err)
	}
	l := &Lab{t: t, dir: dir, prefix: prefix, underlay: underlay}
	l.choose(timed)
	t.Cleanup(l.close)
	if l.internet, err = newInternet(l.prefix + "internet"); err != nil {
		t.Fatalf("make the internet: %v", err)
	}
	return l
}

// UseIPv6 gives the hosts that are made from now on IPv6 underlay addresses only.
func (l *Lab) UseIPv6() { l.underlay = underlay6 }

// Host adds a host to the internet. It is not started.
func (l *Lab) Host(name string) *Host {
	l.t.Helper()
	number := len(l.hosts) + 2
	address := l.underlay.Addr()
	for range number {
		address = address.Next()
	}
	h := &Host{
		lab: l, Name: name, Underlay: address,
		dir:    filepath.Join(l.dir, fmt.Sprintf("h%d", number)),
		port:   fmt.Sprintf("h%d", number),
		Launch: Launch(number % 2),
		marks:  newFootprint(),
	}
	l.hosts = append(l.hosts, h)
	if err := h.build(); err != nil {
		l.t.Fatalf("make host %s: %v", name, err)
	}
	return h
}

// Mesh makes and starts the named hosts and joins them into one mesh, whose
// authority is the first. It returns when each sees all others alive with their
// tunnels up.
func (l *Lab) Mesh(names ...string) []*Host {
	l.t.Helper()
	var hosts []*Host
	for _, name := range names {
		h := l.Host(name)
		h.Start()
		hosts = append(hosts, h)
	}
	hosts[0].Init()
	if len(hosts) > 1 {
		token := hosts[0].Token("--uses", fmt.Sprint(len(hosts)-1))
		for _, h := range hosts[1:] {
			h.Join(token)
		}
	}
	l.AwaitMesh(hosts...)
	return hosts
}

// AwaitMesh waits until each of the hosts sees all of them alive and has its
// tunnels to them up.
func (l *Lab) AwaitMesh(hosts ...*Host) {
	l.t.Helper()
	for _, h := range hosts {
		l.Await(fmt.Sprintf("%s sees %d nodes alive with tunnels up", h.Name, len(hosts)), func() error {
			return h.seesAll(hosts)
		})
	}
}

// Stranger adds a machine on the internet that runs no edgenetd.
func (l *Lab) Stranger(name string) *Container {
	l.t.Helper()
	return l.Host(name).Insider(name)
}

// wire is a process in the internet's own namespace, made when first asked for.
func (l *Lab) wire(h *Host) *Container {
	l.t.Helper()
	if l.tapper == nil {
		c, err := newContainer(h, "wire", l.internet.path)
		if err != nil {
			l.t.Fatalf("tap the internet: %v", err)
		}
		l.tapper = c
		l.strangers = append(l.strangers, c)
	}
	return l.tapper
}

// Wiretap starts to record every frame on the host's cable, both ways.
func (h *Host) Wiretap() *Capture {
	h.lab.t.Helper()
	return h.lab.wire(h).Captures(h.port)
}

// patience is how long an expectation is awaited. Namespaces and the race
// detector on two busy cores are slow; what must be quick is measured.
var patience = 30 * time.Second * slowness

// slowness is $EDGENET_SLOWNESS, by how much slower than others an emulated
// machine is: all waiting is as many times longer.
var slowness = max(1, number(os.Getenv("EDGENET_SLOWNESS")))

// Slowly is a time as it is on a machine that may be slower than others.
func Slowly(d time.Duration) time.Duration { return d * slowness }

// Fewer is how often something is tried on a machine that may be slower than others.
func Fewer(times int) int { return max(1, times/int(slowness)) }

// number is 0 if the text is none.
func number(text string) time.Duration {
	n, err := strconv.ParseUint(text, 10, 8)
	if err != nil {
		return 0
	}
	return time.Duration(n)
}

// Await polls a condition until it holds, and fails the test with its last
// error if it does not in time.
func (l *Lab) Await(what string, check func() error) {
	l.t.Helper()
	Await(l.t, what, check)
}

// AwaitWithin is Await for what has to be true that soon, on a machine that is not
// slow.
func (l *Lab) AwaitWithin(limit time.Duration, what string, check func() error) {
	l.t.Helper()
	awaitWithin(l.t, limit*slowness, what, check)
}

// Await is a lab's, for any test.
func Await(t TB, what string, check func() error) {
	t.Helper()
	awaitWithin(t, patience, what, check)
}

func awaitWithin(t TB, limit time.Duration, what string, check func() error) {
	t.Helper()
	if err := await(limit, check); err != nil {
		t.Fatalf("%s: not within %s: %v", what, limit, err)
	}
}

// askAgain is how long a condition is left alone before it is asked for again; on a
// slow machine at least as long as asking takes, or little else would get done there.
const askAgain = 20 * time.Millisecond

// await returns the last error of a condition that did not come true in time.
func await(limit time.Duration, check func() error) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		begun := time.Now()
		err := check()
		if err == nil {
			return nil
		}
		again := askAgain
		if slowness > 1 {
			again = max(again, 2*time.Since(begun))
		}
		select {
		case <-deadline.C:
			return err
		case <-time.After(again):
		}
	}
}

// Slow is a bound as it is for this machine.
func Slow(bound time.Duration) time.Duration { return Busy(bound) * slowness }

// Busy is a bound as it is where all programs have the race detector: three times as
// long.
func Busy(bound time.Duration) time.Duration {
	if everyRace {
		return 3 * bound
	}
	return bound
}
