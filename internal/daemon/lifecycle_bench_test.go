package daemon_test

import (
	"fmt"
	"testing"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/daemon/daemontest"
)

// An attach and a detach on a host that has 1,000 endpoints, over a kernel that
// costs nothing: what is left is the daemon's own share, records and disk.
func BenchmarkAttach(b *testing.B) {
	n := daemontest.Start(b, "cloud-1", nil)
	if _, err := n.Init(b.Context()); err != nil {
		b.Fatal(err)
	}
	if _, err := n.CreateVPC(b.Context(), &api.CreateVPCRequest{Name: "blue", Cidrs: []string{"10.0.0.0/16"}}); err != nil {
		b.Fatal(err)
	}
	attach := func(i int) string {
		name := fmt.Sprint("e", i)
		if _, err := n.AttachEndpoint(b.Context(), attachRequest(name, fmt.Sprintf("10.0.%d.%d", 1+i/200, 2+i%200))); err != nil {
			b.Fatal(err)
		}
		return name
	}
	for i := range 1000 {
		attach(i)
	}
	for b.Loop() {
		name := attach(1000)
		b.StopTimer()
		if err := n.DetachEndpoint(b.Context(), name, "blue"); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
