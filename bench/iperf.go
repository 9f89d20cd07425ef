package main

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"edgenet.dev/edgenet/test/netns/lab"
)

// stream sends over one TCP connection for some seconds and returns Gbit/s as
// the receiver counted. The first second is left out.
func stream(t lab.TB, from *lab.Container, to netip.Addr, seconds int) float64 {
	t.Helper()
	result := from.Runs("iperf3", "-c", to.String(), "-O", "1", "-t", fmt.Sprint(seconds), "-J")
	var report struct {
		Error string
		End   struct {
			SumReceived struct {
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		}
	}
	if err := json.Unmarshal([]byte(result.Stdout), &report); err != nil {
		t.Fatalf("iperf3 to %s: exit %d: %v: %s", to, result.Code, err, result.Stderr)
	}
	rate := report.End.SumReceived.BitsPerSecond
	if result.Code != 0 || rate <= 0 {
		t.Fatalf("iperf3 to %s: exit %d: %s", to, result.Code, report.Error)
	}
	return rate / 1e9
}
