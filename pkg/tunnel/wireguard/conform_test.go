package wireguard

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

func TestUserspaceConforms(t *testing.T) {
	before := tunneltest.CountFDs(t)
	tunneltest.Conform(t, func(t *testing.T) tunneltest.Harness { return newHarness(t, KindUserspace) })
	if after := tunneltest.CountFDs(t); after > before {
		t.Errorf("%d descriptors are open, before there were %d", after, before)
	}
}

func TestKernelConforms(t *testing.T) {
	requireKernel(t)
	before := tunneltest.CountFDs(t)
	tunneltest.Conform(t, func(t *testing.T) tunneltest.Harness { return newHarness(t, KindKernel) })
	if after := tunneltest.CountFDs(t); after > before {
		t.Errorf("%d descriptors are open, before there were %d", after, before)
	}
}

// requireKernel skips where the kernel has no WireGuard, which only trying
// tells.
func requireKernel(t *testing.T) {
	t.Helper()
	s := tunneltest.NewSpace(t)
	err := s.Do(func() error {
		want := tunnel.Device{Name: uniqueName(t), MTU: 1420}
		if err := createKernelLink(want); err != nil {
			return err
		}
		link, err := netlink.LinkByName(want.Name)
		return errors.Join(err, netlink.LinkDel(link))
	})
	if errors.Is(err, tunnel.ErrUnsupported) {
		t.Skip("kernel lacks WireGuard")
	}
	if err != nil {
		t.Fatal(err)
	}
}
