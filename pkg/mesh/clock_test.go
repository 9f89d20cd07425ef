package mesh

import (
	"net/netip"
	"testing"
	"time"
)

// The clock never goes back: not with the wall clock, not over restarts, and
// not behind what was seen.
func TestTheClockNeverGoesBack(t *testing.T) {
	wall := time.Now()
	cfg := Config{
		StateDir: t.TempDir(), Name: "a", Links: []Link{{Addr: loopback()}},
		Now: func() time.Time { return wall },
	}
	var last Version
	for range 3 {
		m, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			v := m.Now()
			if v <= last {
				t.Fatalf("%d after %d", v, last)
			}
			last = v
		}
		m.replica.clock.observe(last + 1000)
		if v := m.Now(); v <= last+1000 {
			t.Fatalf("%d after %d was seen", v, last+1000)
		} else {
			last = v
		}
		if ahead := last.Time().Sub(wall); ahead > 3*time.Hour+5*time.Second {
			t.Fatalf("the clock is %s ahead", ahead)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		wall = wall.Add(-time.Hour)
	}
}

func TestVersionsCarryTheirTime(t *testing.T) {
	now := time.UnixMilli(1_900_000_000_123)
	if got := versionAt(now).Time(); !got.Equal(now) {
		t.Errorf("got %s, want %s", got, now)
	}
	if versionAt(time.UnixMilli(-1)) != 0 {
		t.Error("a time before 1970 has a version")
	}
}

func TestPrefixesFollowFromIDs(t *testing.T) {
	node, mesh := NodeID("0123456789abcdef0123456789abcdef01234567"), ID("fedcba9876543210fedcba9876543210fedcba98")
	for _, c := range []struct{ got, want any }{
		{node.Prefix(mesh), netip.MustParsePrefix("fdfe:dc01:2345:6789::/64")},
		{node.Addr(mesh), netip.MustParseAddr("fdfe:dc01:2345:6789::1")},
		{mesh.Prefix(), netip.MustParsePrefix("fdfe:dc00::/24")},
		{NodeID("x").Prefix(mesh), netip.Prefix{}},
		{node.Addr("x"), netip.Addr{}},
		{ID("").Prefix(), netip.Prefix{}},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}
