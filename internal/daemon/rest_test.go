package daemon

import (
	"math"
	"testing"
	"time"

	"edgenet.dev/edgenet/internal/records"
)

// A tunnel's life by a clock that the test sets: each step is what is true after
// some time, and whether it rests then.
func TestATunnelRestsWhenNothingIsCarried(t *testing.T) {
	const idle = 5 * time.Minute
	start := time.Unix(1_000_000, 0)
	after := func(d time.Duration) time.Time { return start.Add(d) }
	awake := restReasons{idle: idle, ready: true, live: true, handshake: start}
	with := func(change func(*restReasons)) restReasons {
		by := awake
		change(&by)
		return by
	}
	used := func(d time.Duration) restReasons { return with(func(by *restReasons) { by.used = after(d) }) }
	got := func(bytes uint64) restReasons { return with(func(by *restReasons) { by.received = bytes }) }
	ipsec := func(change func(*restReasons)) restReasons {
		return with(func(by *restReasons) { by.begins = true; change(by) })
	}
	type step struct {
		at      time.Duration
		by      restReasons
		resting bool
	}
	for name, steps := range map[string][]step{
		"it rests after a while, and wakes by a packet": {
			{0, awake, false},
			{idle - time.Second, awake, false},
			{idle, awake, true},
			{2 * idle, awake, true},
			{2*idle + time.Second, used(2 * idle), false},
			{3 * idle, used(2 * idle), false},
			{3*idle + 2*time.Second, used(2 * idle), true},
		},
		"packets keep it awake": {{0, awake, false}, {idle, used(idle - time.Second), false}, {2*idle - time.Second - 1, used(idle - time.Second), false}, {2 * idle, used(idle - time.Second), true}},
		"a use that is found out late does not wake it": {
			{0, awake, false}, {idle, awake, true}, {idle + time.Second, used(idle - time.Second), true},
		},
		"it never rests if that is so wanted": {
			{0, awake, false}, {100 * idle, with(func(by *restReasons) { by.idle = 0 }), false},
		},
		"one that does not come up does not rest": {
			{0, awake, false}, {2 * idle, with(func(by *restReasons) { by.live = false }), false},
		},
		"one whose session ran out goes on resting": {
			{0, awake, false}, {idle, awake, true}, {2 * idle, with(func(by *restReasons) { by.live = false }), true},
		},
		"nobody could wake it": {{0, awake, false}, {2 * idle, with(func(by *restReasons) { by.ready = false }), false}},
		"it is woken to be moved, and rests again": {
			{0, awake, false},
			{idle, awake, true},
			{idle + 1, with(func(by *restReasons) { by.ready = false }), false},
			{2 * idle, awake, false},
			{2*idle + 1, awake, true},
		},
		"WireGuard's keys are made anew while it rests": {
			{0, awake, false}, {idle, awake, true}, {2 * idle, with(func(by *restReasons) { by.handshake = after(2*idle - 1) }), true},
		},
		"a peer that sends all the time would not find this node again": {
			{0, awake, false},
			{idle, awake, true},
			{idle + quietRest - 1, got(5000), true}, // it was still about to rest
			{idle + quietRest, got(5000 + watchedBytes), true},
			{idle + quietRest + time.Minute, got(5001 + watchedBytes), false},
			{watchedTime, got(1 << 20), false},
			{idle + quietRest + time.Minute + watchedTime, got(1 << 21), true},
		},
		"a peer's process begins to count anew": {
			{0, awake, false}, {idle, got(1 << 20), true}, {idle + quietRest, got(10), true}, {2 * idle, got(watchedBytes), true},
		},
		"IPsec's peer begins": {
			{0, awake, false},
			{idle, ipsec(func(*restReasons) {}), true},
			{idle + 1, ipsec(func(*restReasons) {}), true},
			{2 * idle, ipsec(func(by *restReasons) { by.handshake = after(2*idle - 1) }), false},
		},
		"IPsec's peer lets the session go": {
			{0, awake, false},
			{time.Second, ipsec(func(by *restReasons) { by.live, by.dormant = false, true }), true},
			{2 * time.Second, ipsec(func(by *restReasons) { by.live = false }), true},
		},
	} {
		var r rest
		for _, s := range steps {
			if r = r.next(after(s.at), s.by); r.resting() != s.resting {
				t.Errorf("%s: after %s it rests: %v", name, s.at, r.resting())
			}
		}
	}
}

// Both ends rest after the same time, whatever each of them wants.
func TestBothEndsRestAfterTheSameTime(t *testing.T) {
	said := func(ms uint64) *records.Announcement { return &records.Announcement{IdleMs: &ms} }
	times := []time.Duration{0, 1500 * time.Millisecond, time.Minute, 5 * time.Minute}
	for _, a := range times {
		for _, b := range times {
			want := max(a, b)
			if a == 0 || b == 0 {
				want = 0
			}
			here, there := pairIdle(a, said(uint64(b.Milliseconds()))), pairIdle(b, said(uint64(a.Milliseconds())))
			if here != want || there != want {
				t.Errorf("%s and %s: they rest after %s and %s, want %s", a, b, here, there, want)
			}
		}
	}
	if got := pairIdle(time.Minute, &records.Announcement{}); got != time.Minute {
		t.Errorf("with a node that says nothing it is %s", got)
	}
	if got := pairIdle(time.Minute, nil); got != time.Minute {
		t.Errorf("with a node that has announced nothing it is %s", got)
	}
	if got := pairIdle(time.Minute, said(math.MaxUint64)); got < 1000*time.Hour {
		t.Errorf("with a node that says the most it is %s", got)
	}
}

// A session is not let go while the peer sends something.
func TestASessionStaysWhileThePeerIsAwake(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	by := restReasons{idle: time.Minute, ready: true, live: true, begins: true, handshake: start}
	r := rest{}.next(start, by).next(start.Add(time.Minute), by)
	if !r.resting() {
		t.Fatal("it does not rest")
	}
	at := r.since
	for range 100 { // rounds, each after a probe of the peer's
		at, by.received = at.Add(2*time.Second), by.received+100
		if r = r.next(at, by); r.over(at) {
			t.Fatalf("the session may go %s after the peer was heard", at.Sub(r.heard))
		}
	}
	if at = at.Add(settleRest - 1); r.next(at, by).over(at) {
		t.Error("the session may go early")
	}
	if at = at.Add(1); !r.next(at, by).over(at) || !r.resting() {
		t.Error("the session may not go, though nothing comes")
	}
}
