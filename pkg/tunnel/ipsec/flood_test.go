package ipsec

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// maxGrowth is how much of a flood charon may hold, in KiB: what is much, and what
// comes on top of it in the two seconds until it is noticed, which is up to 160 MiB.
// Without a bound it would be some 100 MiB a second, 400 MiB in all.
const maxGrowth = 256 << 10

// A tenant that sends as fast as it can, in large packets and in small ones.
func TestAFloodDoesNotGrowCharon(t *testing.T) {
	f := newFleet(t, newHarness(t, KindUserspace, 2))
	f.full(t)
	f.keep(t, 0, f.peer(1))
	pid := f.charon(t, 0).PID
	for _, size := range []int{1300, 16} {
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			before := memory(t, pid)
			sent := f.flood(t, size, 4*time.Second)
			after := memory(t, pid)
			t.Logf("%d packets: charon grew from %d to %d KiB", sent, before, after)
			if after > before+maxGrowth {
				t.Errorf("charon grew by %d KiB, want at most %d", after-before, maxGrowth)
			}
		})
	}
}

// flood sends from node 0 to node 1 for a while.
func (f *fleet) flood(t *testing.T, size int, lasts time.Duration) (sent int) {
	t.Helper()
	var out *net.UDPConn
	f.lab.Spaces[0].Must(t, func() (err error) {
		from := net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.device(0).Address, 0))
		out, err = net.DialUDP("udp6", from, net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.device(1).Address, 9)))
		return err
	})
	defer func() { _ = out.Close() }()
	payload := make([]byte, size)
	for end := time.Now().Add(lasts); time.Now().Before(end); {
		for range 100 {
			if _, err := out.Write(payload); err == nil { // nobody listens, which may be said
				sent++
			}
		}
	}
	return sent
}

// memory returns what a process has resident, in KiB.
func memory(t *testing.T, pid int) (kib int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			if _, err := fmt.Sscan(rest, &kib); err != nil {
				t.Fatal(err)
			}
		}
	}
	return kib
}

func TestTheRateFollowsFromWhatHasGathered(t *testing.T) {
	const most, least = 32_000, 32_000 / leastShare
	for _, c := range []struct {
		name       string
		have, used uint64
		limits     bool
		want       uint64
	}{
		{"a new device", 0, 0, false, most / firstShare},
		{"too little passes", 16_000, littleMemory - 1, true, 20_000},
		{"the most passes", most, littleMemory - 1, true, most},
		{"all passes", 16_000, littleMemory - 1, false, 16_000},
		{"too much has gathered", 16_000, muchMemory + 1, true, 8_000},
		{"too much still waits", least, muchMemory + 1, true, least},
		{"it is being worked off", 16_000, littleMemory, true, 16_000},
		{"another rate was configured", 99_999, littleMemory, false, most},
		{"another rate, and too much", 99_999, muchMemory + 1, false, most},
	} {
		if got := nextRate(c.have, most, c.used, c.limits); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
