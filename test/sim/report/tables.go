package main

import (
	"fmt"
	"strings"

	"edgenet.dev/edgenet/test/sim"
)

// line is one line of a table: what it says of each result, "" for what was not
// measured.
type line struct {
	title string
	value func(*sim.Result) string
}

// lines are those of the table of figures.
var lines = []line{
	{"endpoints", func(r *sim.Result) string { return fmt.Sprint(r.Endpoints) }},
	{"**start of all at once**, all see all", func(r *sim.Result) string {
		if r.Start == nil {
			return ""
		}
		return seconds(r.Start.Whole)
	}},
	{"sent meanwhile, per node", func(r *sim.Result) string {
		if r.Start == nil {
			return ""
		}
		return bytes(r.Start.Load.Bytes() * r.Start.Load.Seconds)
	}},
	{"**at rest**: sent, per node and second", of(func(r *sim.Result) *sim.Load { return r.Rest }, func(l *sim.Load) string { return bytes(l.Bytes()) })},
	{"of which gossip, UDP", of(func(r *sim.Result) *sim.Load { return r.Rest }, func(l *sim.Load) string { return bytes(l.Sent[sim.KindPackets].Bytes) })},
	{"of which gossip, TCP", of(func(r *sim.Result) *sim.Load { return r.Rest }, func(l *sim.Load) string { return bytes(l.Sent[sim.KindStreams].Bytes) })},
	{"of which peer API", of(func(r *sim.Result) *sim.Load { return r.Rest }, func(l *sim.Load) string { return bytes(l.Sent[sim.KindPeers].Bytes) })},
	{"sent by the node that sends most", of(func(r *sim.Result) *sim.Load { return r.Rest }, func(l *sim.Load) string { return bytes(l.SentMost) })},
	{"processor, per node", of(func(r *sim.Result) *sim.Load { return r.Rest }, func(l *sim.Load) string { return percent(l.Processor) })},
	{"memory, per node", of(func(r *sim.Result) *sim.Load { return r.Rest }, func(l *sim.Load) string { return bytes(l.Memory) })},
	{"**single changes**: on 50 % of nodes", of(func(r *sim.Result) *sim.Spread { return r.Changes }, func(s *sim.Spread) string { return pair(s.Half) })},
	{"on 99 %", of(func(r *sim.Result) *sim.Spread { return r.Changes }, func(s *sim.Spread) string { return pair(s.Most) })},
	{"on all", of(func(r *sim.Result) *sim.Spread { return r.Changes }, func(s *sim.Spread) string { return pair(s.All) })},
	{"**1 % of endpoints change per minute**: sent, per node and second", of(func(r *sim.Result) *sim.Churn { return r.Churn }, func(c *sim.Churn) string { return bytes(c.Load.Bytes()) })},
	{"processor, per node", of(func(r *sim.Result) *sim.Churn { return r.Churn }, func(c *sim.Churn) string { return percent(c.Load.Processor) })},
	{"a change on 50 % of nodes", of(func(r *sim.Result) *sim.Churn { return r.Churn }, func(c *sim.Churn) string { return pair(c.Spread.Half) })},
	{"on 99 %", of(func(r *sim.Result) *sim.Churn { return r.Churn }, func(c *sim.Churn) string { return pair(c.Spread.Most) })},
	{"on all", of(func(r *sim.Result) *sim.Churn { return r.Churn }, func(c *sim.Churn) string { return pair(c.Spread.All) })},
	{"**a node dies**: dead for 50 %", of(func(r *sim.Result) *sim.Death { return r.Death }, func(d *sim.Death) string { return pair(d.Half) })},
	{"for 99 %", of(func(r *sim.Result) *sim.Death { return r.Death }, func(d *sim.Death) string { return pair(d.Most) })},
	{"for all", of(func(r *sim.Result) *sim.Death { return r.Death }, func(d *sim.Death) string { return pair(d.All) })},
	{"back for all after its start", of(func(r *sim.Result) *sim.Death { return r.Death }, func(d *sim.Death) string { return pair(d.Back) })},
	{"**partition into halves** that lasts", of(func(r *sim.Result) *sim.Partition { return r.Partition }, func(p *sim.Partition) string { return seconds(p.Seconds) })},
	{"nodes that a node sees at its end", of(func(r *sim.Result) *sim.Partition { return r.Partition }, func(p *sim.Partition) string { return fmt.Sprintf("%.1f", p.Split) })},
	{"sent meanwhile, per node and second", of(func(r *sim.Result) *sim.Partition { return r.Partition }, func(p *sim.Partition) string { return bytes(p.Load.Bytes()) })},
	{"healed: all see all after", of(func(r *sim.Result) *sim.Partition { return r.Partition }, func(p *sim.Partition) string { return seconds(p.Whole) })},
	{"all have all changes after", of(func(r *sim.Result) *sim.Partition { return r.Partition }, func(p *sim.Partition) string { return seconds(p.Records) })},
	{"**false deaths** at rest and while endpoints change", func(r *sim.Result) string {
		if r.Rest == nil || r.Churn == nil {
			return ""
		}
		hours := (r.Rest.Seconds + r.Churn.Load.Seconds) / 3600 * float64(r.Nodes)
		return fmt.Sprintf("%d in %.1f node hours", r.Rest.Verdicts.FalseDeaths+r.Churn.Load.Verdicts.FalseDeaths, hours)
	}},
	{"in a storm (loss, jitter)", of(func(r *sim.Result) *sim.Storm { return r.Storm }, func(s *sim.Storm) string { return fmt.Sprintf("%s, %s", percent(s.Loss), seconds(s.Jitter)) })},
	{"false deaths in it", func(r *sim.Result) string {
		if r.Storm == nil {
			return ""
		}
		l := r.Storm.Load
		return fmt.Sprintf("%d in %.1f node hours", l.Verdicts.FalseDeaths, l.Seconds/3600*float64(r.Nodes))
	}},
	{"witnesses' words in it that a node is silent", of(func(r *sim.Result) *sim.Storm { return r.Storm }, func(s *sim.Storm) string { return fmt.Sprint(s.Load.Verdicts.Suspicions) })},
	{"a change on all in it", of(func(r *sim.Result) *sim.Storm { return r.Storm }, func(s *sim.Storm) string { return pair(s.Spread.All) })},
	{"real time of the run", func(r *sim.Result) string { return fmt.Sprintf("%.0f s", r.Real) }},
}

// of takes a figure from a part of a result, if that was measured.
func of[T any](part func(*sim.Result) *T, value func(*T) string) func(*sim.Result) string {
	return func(r *sim.Result) string {
		if p := part(r); p != nil {
			return value(p)
		}
		return ""
	}
}

// figures is what stands between the marks.
func figures(results []*sim.Result, dir string) string {
	var b strings.Builder
	r := results[0]
	fmt.Fprintf(&b, "One-way delay %s in the mean, jitter %s, loss %s, uplink %s per second, seed %d. Of times of several events: the\n"+
		"median, and after the slash the worst.\n\n", seconds(r.Latency), seconds(r.Jitter), percent(r.Loss), bytes(r.Uplink), r.Seed)
	b.WriteString("| nodes |")
	for _, r := range results {
		fmt.Fprintf(&b, " %d |", r.Nodes)
	}
	b.WriteString("\n| --- |" + strings.Repeat(" --- |", len(results)) + "\n")
	for _, l := range lines {
		fmt.Fprintf(&b, "| %s |", l.title)
		for _, r := range results {
			fmt.Fprintf(&b, " %s |", l.value(r))
		}
		b.WriteString("\n")
	}
	for _, p := range plots {
		fmt.Fprintf(&b, "\n![%s](%s/%s)\n", p.title, dir, p.file)
	}
	return b.String()
}

// seconds writes a time; a negative one did not come.
func seconds(s float64) string {
	switch {
	case s < 0:
		return "not in time"
	case s < 0.9995:
		return fmt.Sprintf("%.0f ms", s*1000)
	case s < 100:
		return fmt.Sprintf("%.1f s", s)
	default:
		return fmt.Sprintf("%.0f s", s)
	}
}

// pair writes a median and a worst time.
func pair(p sim.Pair) string {
	return seconds(p.Median) + " / " + seconds(p.Worst)
}

// bytes writes an amount.
func bytes(n float64) string {
	for _, prefix := range []string{"", "k", "M"} {
		if n < 999.5 {
			return fmt.Sprintf("%.3g %sB", n, prefix)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.3g GB", n)
}

func percent(share float64) string { return fmt.Sprintf("%.3g %%", share*100) }
