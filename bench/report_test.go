package main

import (
	"regexp"
	"slices"
	"testing"
)

func TestReadsPing(t *testing.T) {
	const report = `PING 10.0.255.2 (10.0.255.2) 56(84) bytes of data.
64 bytes from 10.0.255.2: icmp_seq=1 ttl=64 time=1.20 ms
64 bytes from 10.0.255.2: icmp_seq=2 ttl=64 time=0.171 ms

--- 10.0.255.2 ping statistics ---
2 packets transmitted, 2 received, 0% packet loss, time 2ms
rtt min/avg/max/mdev = 0.171/0.685/1.200/0.514 ms
`
	times, err := pingTimes(report)
	if err != nil || !slices.Equal(times, []float64{1200, 171}) {
		t.Errorf("times %v, error %v", times, err)
	}
	if times, err := pingTimes("2 packets transmitted, 0 received"); err == nil {
		t.Errorf("no answer gives %v and no error", times)
	}
}

func TestPicksByRow(t *testing.T) {
	for expression, want := range map[string]int{"": len(benchmarks), "^attach/p99$": 1, "vs-tunnel": 2, "nothing": 0} {
		if got := len(pick(regexp.MustCompile(expression))); got != want {
			t.Errorf("%q picks %d benchmarks, want %d", expression, got, want)
		}
	}
}

func TestNamesOfRowsAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, b := range benchmarks {
		for _, row := range b.rows {
			if seen[row] {
				t.Errorf("two rows are named %s", row)
			}
			seen[row] = true
		}
	}
}
