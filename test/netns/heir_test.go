package netns

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/ipsec"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard"
	"edgenet.dev/edgenet/test/netns/lab"
)

// An operator has a host run WireGuard in the kernel, and no longer in userspace: its
// tunnels go over to IPsec meanwhile, and nothing is lost. Then it runs it in userspace
// again, and IPsec not at all: there is nothing to go over to, and it costs what a
// device costs that is deleted.
//
//	edge-1: web ══ 10 ms pings both ways, a connection ══ edge-2: db
func TestWireGuardIsReplacedByTheOtherDriver(t *testing.T) {
	t.Parallel()
	needsToTry(t, wireguard.Probe(wireguard.KindKernel))
	g := groundOf(t, "wireguard-userspace", "ipsec-userspace")
	g.takes(0, "wireguard-kernel", "ipsec-userspace")
	g.takes(repairTime, "wireguard-userspace")
}

// A host that has IPsec alone runs it in the kernel, and no longer in userspace.
func TestIPsecIsReplacedByTheOtherDriver(t *testing.T) {
	t.Parallel()
	needsToTry(t, ipsec.Probe(ipsec.KindKernel))
	g := groundOf(t, "ipsec-userspace")
	g.takes(repairTime, "ipsec-kernel")
}

// needsToTry skips a test where hosts are to use one driver, or the kernel lacks one.
func needsToTry(t *testing.T, lack error) {
	t.Helper()
	lab.NeedsAllDrivers(t)
	if errors.Is(lack, tunnel.ErrUnsupported) {
		t.Skip(lack)
	}
}

// groundOf is two hosts that may use some drivers, and use the first.
func groundOf(t *testing.T, drivers ...string) *ground {
	t.Helper()
	l := lab.NewTimed(t)
	l.UseDrivers(drivers...)
	return newGround(t, l, drivers[0])
}

// takes has near start with other drivers, and waits until it goes by the first.
func (g *ground) takes(bound time.Duration, drivers ...string) {
	g.t.Helper()
	was := g.driver
	g.driver = drivers[0]
	technology, _, _ := strings.Cut(g.driver, "-")
	wire := g.near.Wiretap()
	g.meets(fault{promise: "a host's driver is replaced, from " + was, bound: bound, do: func(g *ground) {
		g.near.Flags["tunnel-drivers"] = strings.Join(drivers, ",")
		g.near.Restart()
		g.AwaitWithin(lab.Busy(2*time.Minute), "edge-1 reaches edge-2 by "+g.driver, func() error {
			if now := driverTo(g.near, g.far); now != g.driver {
				return fmt.Errorf("it does so by %q", now)
			}
			return nil
		})
		awaitTechnology(g.Lab, g.near, g.far, technology)
		awaitTechnology(g.Lab, g.far, g.near, technology)
	}})
	wire.ShowsNone("a tenant's or an overlay packet in clear", isInClear)
}
