package wireguard

import (
	"errors"
	"testing"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

// What the probe says is what a driver finds, and nothing of it stays.
func TestTheProbeSaysWhatADriverFinds(t *testing.T) {
	space := tunneltest.NewSpace(t)
	space.Must(t, func() error {
		probed := Probe(KindKernel)
		if link, err := device.Find("probe"); err != nil || link != nil {
			t.Errorf("the probe left %v, %v", link, err)
		}
		made := createKernelLink(tunnel.Device{Name: "made", MTU: tunnel.MinMTU})
		if (probed == nil) != (made == nil) || errors.Is(probed, tunnel.ErrUnsupported) != errors.Is(made, tunnel.ErrUnsupported) {
			t.Errorf("the probe says %v, the driver %v", probed, made)
		}
		return nil
	})
	// All other tests of the userspace driver need it.
	if err := Probe(KindUserspace); err != nil {
		t.Errorf("the userspace driver is not possible: %v", err)
	}
}
