package daemon

import (
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/probe"
)

func TestATunnelIsBusyWhileItCarriesMoreThanProbes(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	var u usage
	var sent, probed uint64
	pass := func(d time.Duration, bytes, ofProbes uint64) bool {
		now, sent, probed = now.Add(d), sent+bytes+ofProbes, probed+ofProbes
		u = u.next(now, sent, probed)
		return u.busy(now)
	}
	for _, c := range []struct {
		what            string
		after           time.Duration
		bytes, ofProbes uint64
		busy            bool
	}{
		{"the first look", 0, 1 << 20, 0, false},
		{"probes alone", 2 * time.Second, 0, 100_000, false},
		{"answers to the peer's", 2 * time.Second, useLeast - 1, 3000, false},
		{"a packet", 2 * time.Second, 1400, 3000, true},
		{"silence", 2 * time.Second, 0, 3000, true},
		{"more of it", useLasts - 3*time.Second, 0, 3000, true},
		{"silence for long", 2 * time.Second, 0, 3000, false},
		{"too soon to say", useInterval / 2, 5000, 0, false},
		{"together with that", useInterval / 2, 0, 0, true},
	} {
		if got := pass(c.after, c.bytes, c.ofProbes); got != c.busy {
			t.Errorf("%s: busy is %v", c.what, got)
		}
	}
	sent, probed = 0, 0 // The tunnel was made anew: its counters began anew.
	if pass(20*time.Second, 0, 0) {
		t.Error("a new tunnel is busy")
	}
}

func TestWhatIsNotMeasuredKeepsItsSize(t *testing.T) {
	before := pathSize{mtu: 1328, basis: probe.Confirmed}
	for _, c := range []struct {
		stats  probe.Stats
		before pathSize
		device int
		want   pathSize
	}{
		{probe.Stats{MTU: 1216, MTUMost: 1400, MTUBasis: probe.Searching}, before, 1440, pathSize{1216, probe.Searching, 1400}},
		{probe.Stats{}, before, 1440, before},
		{probe.Stats{}, pathSize{}, 1440, pathSize{probe.Floor, probe.Assumed, 1440}},
	} {
		if got := sizeOf(c.stats, c.before, c.device); got != c.want {
			t.Errorf("of %+v after %+v: %+v, want %+v", c.stats, c.before, got, c.want)
		}
	}
}

// A device takes what IPv6 counts on; what only cutting the outer packets makes so
// large is not believed in.
func TestWhatThisHostsLinksDoNotTakeWholeIsNotTried(t *testing.T) {
	for _, c := range []struct{ device, left, want int }{
		{1440, 1440, 1440}, {1400, 1438, 1400}, {1280, 1280, 1280}, {1280, 1220, 1216}, {1280, 1198, 1184}, {1280, 1100, 1088},
	} {
		if got := (&carrier{device: tunnel.Device{MTU: c.device}, left: c.left}).limit(); got != c.want {
			t.Errorf("device of %d, %d left: limit %d, want %d", c.device, c.left, got, c.want)
		}
	}
}
