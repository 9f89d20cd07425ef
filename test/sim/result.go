package sim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// Result is what a run has measured. Times are in seconds of the simulated mesh
// unless their name says otherwise, amounts in bytes; what was not measured is
// absent.
type Result struct {
	Nodes     int     `json:"nodes"`
	Endpoints int     `json:"endpoints"`
	Latency   float64 `json:"latency"`
	Jitter    float64 `json:"jitter"`
	Loss      float64 `json:"loss"`
	Uplink    float64 `json:"uplink_bytes_per_second"`
	Seed      uint64  `json:"seed"`
	// Real is how long the run took, Processor what it took of processors, in
	// real seconds.
	Real      float64 `json:"real_seconds"`
	Processor float64 `json:"processor_seconds"`

	Start     *Start     `json:"start,omitempty"`
	Rest      *Load      `json:"rest,omitempty"`
	Changes   *Spread    `json:"changes,omitempty"`
	Churn     *Churn     `json:"churn,omitempty"`
	Death     *Death     `json:"death,omitempty"`
	Partition *Partition `json:"partition,omitempty"`
	Storm     *Storm     `json:"storm,omitempty"`
}

// Start is the start of all nodes within a second, from disk.
type Start struct {
	// Whole is when all saw all.
	Whole float64 `json:"whole"`
	Load  Load    `json:"load"`
}

// Load is what a mesh costs for a while: means per node and second, but for the
// memory.
type Load struct {
	// Seconds is how long that was, Processor the share of a processor that a
	// node takes, the simulation's own work included.
	Seconds   float64 `json:"seconds"`
	Processor float64 `json:"processor"`
	// Memory is heap and stacks after a collection of garbage, by node.
	Memory float64 `json:"memory,omitempty"`
	// Sent is by kind of traffic; SentMost is of the node that sends most, of all
	// kinds. What is sent is received, but for losses.
	Sent     map[string]Rate `json:"sent"`
	SentMost float64         `json:"sent_most"`
	Verdicts Verdicts        `json:"verdicts"`
}

// Rate is traffic of a node per second.
type Rate struct {
	Packets float64 `json:"packets"`
	Bytes   float64 `json:"bytes"`
}

// Bytes returns what a node sends in all, per second.
func (l *Load) Bytes() float64 {
	var sum float64
	for _, r := range l.Sent {
		sum += r.Bytes
	}
	return sum
}

// Spread is how changes reached the nodes.
type Spread struct {
	Count int `json:"count"`
	// Missing is how often a change had not reached a node in time.
	Missing int `json:"missing"`
	// Half, Most and All are how long a change took to 50, 99 and 100 % of nodes:
	// the median of the changes, and the slowest.
	Half Pair `json:"half"`
	Most Pair `json:"most"`
	All  Pair `json:"all"`
	// Quantiles are those of all nodes and changes together, from 0 to 100 %.
	Quantiles []float64 `json:"quantiles"`
}

// Pair is a median and a highest value.
type Pair struct {
	Median float64 `json:"median"`
	Worst  float64 `json:"worst"`
}

// Churn is a while in which endpoints change all the time.
type Churn struct {
	PerMinute float64 `json:"changes_per_minute"`
	Load      Load    `json:"load"`
	Spread    Spread  `json:"spread"`
}

// Death is the sudden end of a node.
type Death struct {
	Count int `json:"count"`
	// Half, Most and All are when 50, 99 and 100 % of the others saw it dead.
	Half Pair `json:"half"`
	Most Pair `json:"most"`
	All  Pair `json:"all"`
	// Back is when all saw all again after the start of one.
	Back Pair `json:"back"`
	// Missing is how often a node had not noticed in time.
	Missing int `json:"missing"`
}

// Partition is a time in which the mesh is in two halves.
type Partition struct {
	Seconds float64 `json:"seconds"`
	// Split is how many nodes a node saw in its half at the end of it, in the
	// mean.
	Split float64 `json:"split"`
	// Whole is how long it took from its end until all saw all, Records until
	// all had what had changed meanwhile; negative if they did not.
	Whole   float64 `json:"whole"`
	Records float64 `json:"records"`
	Load    Load    `json:"load"`
}

// Storm is a while of bad weather.
type Storm struct {
	Loss   float64 `json:"loss"`
	Jitter float64 `json:"jitter"`
	Load   Load    `json:"load"`
	Spread Spread  `json:"spread"`
}

// SameMesh tells whether two runs simulated the same mesh.
func (r *Result) SameMesh(o *Result) bool {
	return r.Nodes == o.Nodes && r.Endpoints == o.Endpoints && r.Latency == o.Latency && r.Jitter == o.Jitter &&
		r.Loss == o.Loss && r.Uplink == o.Uplink && r.Seed == o.Seed
}

// Add takes what r has not measured from another run of the same mesh.
func (r *Result) Add(o *Result) {
	r.Start, r.Rest = cmp.Or(r.Start, o.Start), cmp.Or(r.Rest, o.Rest)
	r.Changes, r.Churn = cmp.Or(r.Changes, o.Changes), cmp.Or(r.Churn, o.Churn)
	r.Death, r.Partition = cmp.Or(r.Death, o.Death), cmp.Or(r.Partition, o.Partition)
	r.Storm = cmp.Or(r.Storm, o.Storm)
	r.Real, r.Processor = r.Real+o.Real, r.Processor+o.Processor
}

// spreadOf sums changes up.
func spreadOf(cs []*change) Spread {
	s := Spread{Count: len(cs)}
	var half, most, all, pooled []time.Duration
	for _, c := range cs {
		took, missing := c.delays()
		s.Missing += missing
		half = append(half, at(took, missing, 0.5))
		most = append(most, at(took, missing, 0.99))
		all = append(all, at(took, missing, 1))
		pooled = append(pooled, took...)
	}
	s.Half, s.Most, s.All = pairOf(half), pairOf(most), pairOf(all)
	slices.Sort(pooled)
	for i := range 101 {
		s.Quantiles = append(s.Quantiles, secondsOf(at(pooled, s.Missing, float64(i)/100)))
	}
	return s
}

// at returns the delay that a share of the nodes did not exceed, unreached if so
// many have not been reached.
func at(sorted []time.Duration, missing int, share float64) time.Duration {
	n := len(sorted) + missing
	if n == 0 {
		return 0
	}
	i := max(0, int(share*float64(n)+0.9999999)-1)
	if i >= len(sorted) {
		return unreached
	}
	return sorted[i]
}

// pairOf sums delays up; that of what was never reached is negative, and the
// worst.
func pairOf(ds []time.Duration) Pair {
	if len(ds) == 0 {
		return Pair{}
	}
	key := func(d time.Duration) time.Duration {
		if d == unreached {
			return 1<<63 - 1
		}
		return d
	}
	slices.SortFunc(ds, func(a, b time.Duration) int { return cmp.Compare(key(a), key(b)) })
	return Pair{Median: secondsOf(ds[(len(ds)-1)/2]), Worst: secondsOf(ds[len(ds)-1])}
}

// secondsOf returns a delay in seconds, -1 for what was not reached.
func secondsOf(d time.Duration) float64 {
	if d == unreached {
		return -1
	}
	return d.Seconds()
}

// Read reads what Write has written.
func Read(r io.Reader) (*Result, error) {
	var out Result
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil {
		return nil, fmt.Errorf("read result: %w", err)
	}
	return &out, nil
}

// Write writes a result to a file.
func (r *Result) Write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(b, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}
