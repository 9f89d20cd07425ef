package probe

import (
	"testing"
	"time"
)

func TestRTTIsSmoothedAsInRFC6298(t *testing.T) {
	var tg target
	now := time.Unix(1000, 0)
	for _, r := range []time.Duration{80 * time.Millisecond, 160 * time.Millisecond} {
		seq := tg.sent(now)
		now = now.Add(r)
		if !tg.answered(seq, now) {
			t.Fatalf("answer %d was refused", seq)
		}
	}
	got := tg.stats(now, time.Second)
	// First 80, 40; then 7/8*80 + 1/8*160 = 90 and 3/4*40 + 1/4*80 = 50.
	if got.RTT != 90*time.Millisecond || got.Variation != 50*time.Millisecond {
		t.Errorf("rtt is %s, variation %s, want 90ms, 50ms", got.RTT, got.Variation)
	}
	if !got.LastAnswer.Equal(now) {
		t.Errorf("last answer is %s, want %s", got.LastAnswer, now)
	}
}

func TestAnswersThatDoNotCount(t *testing.T) {
	var tg target
	now := time.Unix(1000, 0)
	if tg.answered(0, now) || tg.answered(65535, now) {
		t.Error("an answer to nothing counted")
	}
	seq := tg.sent(now)
	if tg.answered(seq+1, now) {
		t.Error("an answer to the future counted")
	}
	if !tg.answered(seq, now) || tg.answered(seq, now) {
		t.Error("an answer did not count exactly once")
	}
	for range window {
		tg.sent(now)
	}
	if tg.answered(seq, now) {
		t.Error("an answer to a forgotten request counted")
	}
}

// The sequence number has 16 bits and wraps at no multiple of the window.
func TestSequenceNumbersWrap(t *testing.T) {
	var tg target
	now := time.Unix(1000, 0)
	for i := range 70_000 {
		seq := tg.sent(now)
		if seq != uint16(i) {
			t.Fatalf("request %d has sequence number %d", i, seq)
		}
		if i%2 == 0 && !tg.answered(seq, now) {
			t.Fatalf("answer to request %d was refused", i)
		}
	}
	if got := tg.stats(now.Add(time.Minute), time.Second); got.Sent != window || got.Lost != window/2 || got.Loss() != 0.5 {
		t.Errorf("stats are %+v, want half of %d lost", got, window)
	}
}

func TestLossCountsOnlyWhatIsDue(t *testing.T) {
	var tg target
	start := time.Unix(1000, 0)
	if got := (Stats{}).Loss(); got != 0 {
		t.Errorf("loss of nothing is %v", got)
	}
	first := tg.sent(start)
	tg.sent(start.Add(2 * time.Second))
	now := start.Add(3 * time.Second)
	if got := tg.stats(now, 3*time.Second); got.Sent != 1 || got.Lost != 1 {
		t.Errorf("stats are %+v, want 1 of 1 lost", got)
	}
	tg.answered(first, now) // late, but it came
	if got := tg.stats(now, 3*time.Second); got.Sent != 1 || got.Lost != 0 {
		t.Errorf("stats are %+v, want 0 of 1 lost", got)
	}
}
