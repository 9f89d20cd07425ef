package netns

import (
	"errors"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/ipsec"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard"
	"edgenet.dev/edgenet/test/netns/lab"
)

// insideESP is what ESP in UDP over IPv4 leaves of a path, down to a multiple of 16.
func insideESP(width int) int { return (width - 20 - 8 - 8 - 8 - 16 - 2) / 16 * 16 }

// Where the kernel has both, a pair of nodes goes over from its WireGuard to its
// IPsec and back while tenants talk. No packet is lost, and none is seen in clear.
// What the path swallows is found out by IPsec, too.
//
//	edge-1: web ══ 10 ms pings, a connection ══ edge-2: db
func TestTheKernelsTunnelsChangeWithoutLoss(t *testing.T) {
	t.Parallel()
	lab.NeedsAllDrivers(t)
	for _, lack := range []error{wireguard.Probe(wireguard.KindKernel), ipsec.Probe(ipsec.KindKernel)} {
		if errors.Is(lack, tunnel.ErrUnsupported) {
			t.Skip(lack)
		}
	}
	l := lab.NewTimed(t)
	hosts, web, db := aTenant(l)
	for _, technology := range []string{"ipsec", "wireguard"} {
		wire, traffic, was := hosts[0].Wiretap(), run(web, db), driverTo(hosts[0], hosts[1])
		traffic.flow.Runs()
		hosts[0].MustCtl("tunnel", "policy", "set", "any", technology)
		for i, host := range hosts {
			awaitTechnology(l, host, hosts[1-i], technology)
			if driver := driverTo(host, hosts[1-i]); driver != technology+"-kernel" {
				t.Errorf("%s reaches %s by %s", host, hosts[1-i], driver)
			}
		}
		traffic.isMoved(t, "command", was, technology+"-kernel")
		wire.ShowsNone("a tenant's or an overlay packet in clear", isInClear)
		if technology == "ipsec" {
			shrinksUnderESP(t, l, hosts, web, db)
		}
	}
}

// shrinksUnderESP narrows a path that IPsec goes by, which says nothing of it.
func shrinksUnderESP(t *testing.T, l *lab.Lab, hosts []*lab.Host, web, db *lab.Container) {
	t.Helper()
	const width = 1280
	hosts[1].Swallows(width)
	begun := time.Now()
	for _, to := range []*lab.Container{db.On6(), db} {
		web.Sends(to, "tcp/7", aMebibyte, 1)
	}
	took := time.Since(begun)
	for i, host := range hosts {
		awaitPathMTU(l, host, hosts[1-i], insideESP(width))
	}
	t.Logf("%d bytes over ipsec-kernel: %d of %d bytes there and back in both families after %s; path MTU %d after %s",
		width, aMebibyte, aMebibyte, took.Round(time.Millisecond), insideESP(width), time.Since(begun).Round(time.Millisecond))
	hosts[1].Swallows(1500)
}

// driverTo is by which driver packets to a node go.
func driverTo(host, to *lab.Host) string {
	var all []listedTunnel
	host.CtlJSON(&all, "tunnel", "list")
	for _, one := range all {
		if one.Node == to.Name {
			return one.Tunnel.Driver
		}
	}
	return ""
}
