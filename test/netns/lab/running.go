package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"edgenet.dev/edgenet/test/netns/lab/agent"
)

// steady is the interval of pings and flows that run while something happens. An
// emulated machine would do little else than answer them: it has fewer.
var steady = func() time.Duration {
	const interval = 10 * time.Millisecond
	if slowness > 1 {
		return 2 * interval * slowness
	}
	return interval
}()

// running is what a container does until it is stopped, and then has a Report of.
type running[Report any] struct {
	from *Container
	what string // of which the agent has a Start and a Stop
	id   int
}

func start[Report any](c *Container, what string, args any) *running[Report] {
	c.t().Helper()
	r := &running[Report]{from: c, what: what}
	c.call("Start"+what, args, &r.id)
	return r
}

// Stop ends it and returns its report.
func (r *running[Report]) Stop() Report {
	r.from.t().Helper()
	var report Report
	r.from.call("Stop"+r.what, r.id, &report)
	return report
}

// Ping is a steady ping.
type Ping struct {
	*running[agent.PingReport]
	to netip.Addr
	// before has what the hosts had dropped when it began.
	before <-chan drops
}

// Pings starts to ping every 10 ms, until it is stopped.
func (c *Container) Pings(to netip.Addr) *Ping {
	c.t().Helper()
	return c.PingsEvery(to, steady)
}

// PingsEvery is Pings at another interval.
func (c *Container) PingsEvery(to netip.Addr, interval time.Duration) *Ping {
	c.t().Helper()
	before := c.host.lab.countDrops()
	return &Ping{running: start[agent.PingReport](c, "Ping", agent.PingArgs{Target: to, Interval: interval}), to: to, before: before}
}

// Loses ends the ping and expects at most that many unanswered requests, and at
// least one answered.
func (p *Ping) Loses(atMost int) agent.PingReport {
	p.from.t().Helper()
	report := p.Stop()
	p.check(report, atMost)
	return report
}

// LosesOnlyIn is Loses for times in which whatever is sent is lost, each of them
// measured.
func (p *Ping) LosesOnlyIn(times ...time.Duration) agent.PingReport {
	p.from.t().Helper()
	report := p.Stop()
	p.check(report, sentIn(report, times))
	return report
}

// strays are the requests that a time of loss may take beside its own: what was on
// its way at either end of it, and what a late clock sent at once.
const strays = 4

// sentIn is how many requests are lost at most with what is sent in some times. When
// one begins, what was sent before waits on the way, and its answers do, on a busy
// machine each as long as the slowest answer was late.
func sentIn(report agent.PingReport, times []time.Duration) int {
	if len(report.RTTs) == 0 {
		return 0
	}
	slowest, count := slices.Max(report.RTTs), 0
	for _, d := range times {
		count += strays + int((d+2*slowest)/report.Interval)
	}
	return count
}

func (p *Ping) check(report agent.PingReport, atMost int) {
	p.from.t().Helper()
	if report.Received == 0 || len(report.Lost) > atMost {
		p.from.t().Errorf("%s pings %s: lost %d of %d, sent %s after %s; want at most %d; meanwhile were dropped\n%s",
			p.from, p.to, len(report.Lost), report.Sent, gaps(report), report.Began.UTC().Format("15:04:05.000"), atMost,
			(<-p.from.host.lab.countDrops()).since(<-p.before))
	}
}

// gaps says when the lost ones were sent, as ranges from the start.
func gaps(report agent.PingReport) string {
	text := ""
	for i := 0; i < len(report.Lost); {
		first, last := i, i
		for i++; i < len(report.Lost) && report.Lost[i] == report.Lost[last]+1; i++ {
			last = i
		}
		text += fmt.Sprintf("[%s..%s]", report.LostAt[first].Round(time.Millisecond), report.LostAt[last].Round(time.Millisecond))
	}
	return text
}

// Flow is a TCP connection that talks all the time.
type Flow struct {
	*running[agent.FlowStatus]
	to   *Container
	port uint16
}

// Streams opens a connection to a tcp service that the other container serves,
// and keeps it busy.
func (c *Container) Streams(to *Container, service string) *Flow {
	c.t().Helper()
	return c.StreamsBy(to, service, 0)
}

// StreamsBy is Streams with so many bytes every 10 ms.
func (c *Container) StreamsBy(to *Container, service string, size int) *Flow {
	c.t().Helper()
	network, port, err := parseService(service)
	if err != nil || network != "tcp" {
		c.t().Fatalf("stream to %q: want tcp/PORT", service)
	}
	args := agent.FlowArgs{Target: to.IP, Port: port, Interval: steady, Size: size}
	f := &Flow{running: start[agent.FlowStatus](c, "Flow", args), to: to, port: port}
	if peer := f.Status().Peer; peer != to.answer() {
		c.t().Fatalf("%s streams to %s: answered by %s", c, to, peer)
	}
	return f
}

// Status says how the flow is doing.
func (f *Flow) Status() agent.FlowStatus {
	f.from.t().Helper()
	var status agent.FlowStatus
	f.from.call("CheckFlow", f.id, &status)
	return status
}

// Runs awaits that new echoes come back.
func (f *Flow) Runs() {
	f.from.t().Helper()
	before := f.Status().Echoes
	f.from.host.lab.Await(f.String()+" runs", func() error {
		status := f.Status()
		if status.Echoes < before+10 {
			return fmt.Errorf("%d new echoes, quiet for %s %s", status.Echoes-before, status.Quiet, status.Ended)
		}
		return nil
	})
}

// Stalls awaits that nothing has come back for a second.
func (f *Flow) Stalls() {
	f.from.t().Helper()
	f.from.host.lab.Await(f.String()+" stalls", func() error {
		status := f.Status()
		if status.Ended == "" && status.Quiet < time.Second {
			return fmt.Errorf("an echo %s ago", status.Quiet)
		}
		return nil
	})
}

// String names both ends.
func (f *Flow) String() string {
	return fmt.Sprintf("the flow of %s to %s tcp/%d", f.from, f.to, f.port)
}
