package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

func reportOf(ready bool) *edgenetv1.DoctorReport {
	r := &edgenetv1.DoctorReport{Ready: ready, Checks: []*edgenetv1.DoctorCheck{
		{Name: "kernel", State: "ok", Found: "Linux 6.1.0"},
		{Name: "wireguard-kernel", State: "lacking", Found: "no \x1b WireGuard", Advice: "modprobe -a wireguard"},
	}}
	if ready {
		r.Drivers = []string{"wireguard-userspace"}
	}
	return r
}

func examineFake(context.Context) (*edgenetv1.DoctorReport, error) { return reportOf(true), nil }

// No edgenetd need run for it.
func TestDoctor(t *testing.T) {
	got := tool(t.Context(), "/nonexistent", "", "doctor")
	want := `CHECK             STATE    FOUND
kernel            ok       Linux 6.1.0
wireguard-kernel  lacking  no ? WireGuard
wireguard-kernel: modprobe -a wireguard
This host can carry traffic.
`
	if got != (result{stdout: want}) {
		t.Errorf("got %+v\nwant %s", got, want)
	}
	var report struct {
		Ready   bool
		Drivers []string
		Checks  []struct{ Name, State, Found, Advice string }
	}
	got = tool(t.Context(), "/nonexistent", "", "doctor", "-o", "json")
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || !report.Ready || len(report.Drivers) != 1 || report.Checks[1].Advice != "modprobe -a wireguard" {
		t.Errorf("%+v, %v", got, err)
	}
}

// What the edgenetd that runs must not use is of no use.
func TestDoctorKnowsWhatIsExcluded(t *testing.T) {
	f := mesh()
	f.status.ExcludedDrivers = []string{"wireguard-kernel"}
	socket := f.serve(t)
	got := tool(t.Context(), socket, "", "doctor")
	if got.code != 0 || !strings.Contains(got.stdout, "tunnel-drivers    lacking  edgenetd must not use wireguard-kernel\n") {
		t.Errorf("got %+v", got)
	}
	f.status.ExcludedDrivers = []string{"wireguard-kernel", "wireguard-userspace"}
	got = tool(t.Context(), socket, "", "doctor")
	if got.code != exitError || !strings.Contains(got.stdout, "tunnel-drivers    missing") || !strings.HasSuffix(got.stderr, "this host is not ready\n") {
		t.Errorf("got %+v", got)
	}
}

func TestAHostThatIsNotReadyIsAFailure(t *testing.T) {
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), &env{
		stdout: &stdout, stderr: &stderr, getenv: func(string) string { return "" },
		examine: func(context.Context) (*edgenetv1.DoctorReport, error) { return reportOf(false), nil },
		dial:    func(context.Context, string) (net.Conn, error) { return nil, errors.New("nobody is there") },
	}, []string{"doctor"})
	if code != exitError || stderr.String() != "edgenetctl: this host is not ready\n" || !strings.HasSuffix(stdout.String(), "as far as could be found out.\n") {
		t.Errorf("%d, %q, %s", code, stderr.String(), stdout.String())
	}
}
