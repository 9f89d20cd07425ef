package sim

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The flags of TestRandomFaultsLoseNothing, behind -args, besides -seed.
var (
	seeds  = flag.Int("seeds", usualSeeds, "how many seeds of random faults, from -seed on")
	lasts  = flag.Duration("faults", 45*time.Second, "how long there are random faults, in the mesh's time")
	only   = flag.String("steps", "", "the steps of a schedule of faults to do, by number and with commas between; empty is all")
	shrunk = flag.Int("shrink", 12, "how many runs a schedule that fails is shrunk by")
)

// Nodes are killed, cut off, starved of packets and set to wrong times while they
// write. In the end all have the same, nothing that was acknowledged is lost but
// by a later change, and nothing deleted is back.
func TestRandomFaultsLoseNothing(t *testing.T) {
	for i := range *seeds {
		c := Trial{Seed: *seed + uint64(i), Length: *lasts, Limit: 3 * time.Minute}
		t.Run(fmt.Sprintf("seed-%d", c.Seed), func(t *testing.T) {
			elapsed, all := clock(), c.schedule()
			keep := chosen(t, len(all))
			out := try(t, c, all.only(keep))
			t.Logf("%d steps, %d writes, all alike %s after the last fault; real time %.1f s", len(keep), out.Writes, out.Alike, elapsed().Seconds())
			if out.err() == nil {
				return
			}
			few := shrink(len(keep), *shrunk, func(part []int) bool { return try(t, c, all.only(pick(keep, part))).err() != nil })
			few = pick(keep, few)
			t.Errorf("seed %d: %v\n%sagain: go test ./test/sim -run TestRandomFaultsLoseNothing -args -seeds 1 -seed %d -faults %s -steps %s",
				c.Seed, out.err(), all.only(few), c.Seed, c.Length, strings.Trim(strings.ReplaceAll(fmt.Sprint(few), " ", ","), "[]"))
		})
	}
}

// try does a schedule.
func try(t *testing.T, c Trial, steps schedule) (out *Outcome) {
	t.Helper()
	c.Dir = t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var err error
		if out, err = c.run(t.Context(), steps); err != nil {
			t.Fatalf("seed %d: %v", c.Seed, err)
		}
	})
	return out
}

// chosen returns the numbers of the steps that the flags ask for.
func chosen(t *testing.T, steps int) []int {
	t.Helper()
	var keep []int
	for i := range steps {
		keep = append(keep, i)
	}
	if *only == "" {
		return keep
	}
	keep = nil
	for text := range strings.SplitSeq(*only, ",") {
		i, err := strconv.Atoi(text)
		if err != nil || i < 0 || i >= steps {
			t.Fatalf("-steps: %q: want numbers below %d", text, steps)
		}
		keep = append(keep, i)
	}
	return keep
}

// pick returns some of a list, by their places.
func pick(from, places []int) []int {
	var out []int
	for _, i := range places {
		out = append(out, from[i])
	}
	return out
}

// only returns some of a schedule's steps, by number.
func (s schedule) only(keep []int) schedule {
	var out schedule
	for _, i := range keep {
		out = append(out, s[i])
	}
	return out
}

func TestASeedsScheduleIsTheSame(t *testing.T) {
	c := Trial{Seed: 3, Length: 10 * time.Minute}
	all := c.schedule()
	if all.String() != c.schedule().String() {
		t.Error("it differs")
	}
	for _, d := range deeds {
		if !slices.ContainsFunc(all, func(s step) bool { return s.do == d.do }) {
			t.Errorf("no %s among %d steps", d.do, len(all))
		}
	}
}

func TestSchedulesAreShrunk(t *testing.T) {
	tries := 0
	culprits := func(keep []int) bool {
		tries++
		return slices.Contains(keep, 17) && slices.Contains(keep, 80)
	}
	if got := shrink(100, 1000, culprits); !slices.Equal(got, []int{17, 80}) {
		t.Errorf("left with %v after %d tries", got, tries)
	}
	tries = 0
	if got := shrink(100, 5, culprits); len(got) < 2 || tries != 5 || !culprits(got) {
		t.Errorf("with 5 tries left with %v after %d", got, tries)
	}
}
