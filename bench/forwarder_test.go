package main

import (
	"net/netip"
	"testing"
)

func TestReadsTheCounter(t *testing.T) {
	const report = `table netdev bench {
	chain arrived {
		type filter hook ingress device "eth0" priority filter; policy accept;
		counter packets 65536 bytes 3014656 drop
	}
}
`
	if count, err := packetCount(report); err != nil || count != 65_536 {
		t.Errorf("count %d, error %v", count, err)
	}
	if count, err := packetCount("table netdev bench { }"); err == nil {
		t.Errorf("no counter gives %d and no error", count)
	}
}

func TestEveryFlowOpensOnce(t *testing.T) {
	f := &forwarder{
		source: firstSource,
		from:   station{addr: netip.MustParseAddr("10.0.0.1")}, to: station{addr: netip.MustParseAddr("10.0.0.2")},
	}
	seen := map[string]bool{}
	for _, count := range []int{10, 7, 1, 20} {
		for _, frame := range f.opening([]uint16{53, 80, 90}, count) {
			seen[string(frame)] = true
		}
	}
	if len(seen) != 38 {
		t.Errorf("%d different frames of 38", len(seen))
	}
}

func TestRowsOfForwardingCompareTheRightSamples(t *testing.T) {
	rows := forwardRows([][]float64{{60}, {30}, {20}, {10}, {5}, {2}})
	for i, want := range map[int]float64{0: 2, 1: 2, 2: 5, 3: 3} {
		if rows[i].Value != want {
			t.Errorf("%s is %g, want %g", rows[i].Name, rows[i].Value, want)
		}
	}
	names := forward.rows
	for i, row := range rows {
		if row.Name != names[i] {
			t.Errorf("row %d is %s, announced as %s", i, row.Name, names[i])
		}
	}
}
