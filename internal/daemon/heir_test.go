package daemon_test

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"edgenet.dev/edgenet/internal/daemon/daemontest"
	"edgenet.dev/edgenet/pkg/tunnel"
)

// patience is for tunnels that are moved, which takes some eight seconds each time.
const patience = 90 * time.Second

// traffic is what two hosts send each other in each millisecond by their datapaths.
type traffic struct {
	mu   sync.Mutex
	sent int
	lost []string
	// by are the devices of the first host that it went by, in their order, each as the
	// last letter of its name.
	by   string
	halt chan struct{}
	done sync.WaitGroup
}

// sends begins it when packets go by a device.
func sends(t *testing.T, a, b *daemontest.Node, by string) *traffic {
	t.Helper()
	f := &traffic{halt: make(chan struct{})}
	pairs := [][2]*daemontest.Node{{a, b}, {b, a}}
	for i, p := range pairs {
		node, err := p[1].GetNode(p[1].Config.Name)
		if err != nil {
			t.Fatal(err)
		}
		to := netip.MustParsePrefix(node.GetPrefix())
		daemontest.Await(t, "packets arrive", func() bool {
			device, err := p[0].Kernel.Send(to)
			return err == nil && strings.HasSuffix(device, by)
		})
		f.done.Go(func() {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-f.halt:
					return
				case <-tick.C:
					f.send(i == 0, p[0], to)
				}
			}
		})
	}
	t.Cleanup(f.stop)
	return f
}

func (f *traffic) send(first bool, from *daemontest.Node, to netip.Prefix) {
	device, err := from.Kernel.Send(to)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent++
	if err != nil {
		f.lost = append(f.lost, from.Config.Name+" by "+device+": "+err.Error())
	}
	if kind := device[max(0, len(device)-1):]; first && !strings.HasSuffix(f.by, kind) {
		f.by += kind
	}
}

func (f *traffic) stop() {
	select {
	case <-f.halt:
	default:
		close(f.halt)
	}
	f.done.Wait()
}

// noneIsLost ends it when packets have gone by the devices, one after the other.
func (f *traffic) noneIsLost(t *testing.T, by string) {
	t.Helper()
	daemontest.AwaitWithin(t, patience, "packets go by "+by, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.by == by
	})
	f.stop()
	t.Logf("%d of %d packets were lost", len(f.lost), f.sent)
	if len(f.lost) > 0 {
		t.Errorf("lost are %q", f.lost[:min(5, len(f.lost))])
	}
}

// hasBoth makes two hosts that have WireGuard and IPsec in userspace, and a tenant.
func hasBoth(t *testing.T) (cloud, edge *daemontest.Node) {
	t.Helper()
	cloud, edge = daemontest.Start(t, "cloud-1", nil), daemontest.Start(t, "edge-1", nil)
	for _, n := range []*daemontest.Node{cloud, edge} {
		n.Kernel.InstallIPsec()
		n.Kernel.Answer()
	}
	if _, err := cloud.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	join(t, cloud, edge)
	return cloud, edge
}

// restarts has a host's daemon start with other drivers allowed.
func restarts(n *daemontest.Node, drivers ...string) {
	n.Stop()
	n.Config.TunnelDrivers = drivers
	n.Start()
}

func awaitDriver(t *testing.T, n *daemontest.Node, driver, by string) {
	t.Helper()
	daemontest.AwaitWithin(t, patience, n.Config.Name+" goes by "+driver, func() bool {
		all := n.ListTunnels()
		return len(all) == 1 && all[0].GetTechnology() == by && all[0].GetTunnel().GetState() == "up" && all[0].GetTunnel().GetDriver() == all[0].GetDriver() &&
			n.Kernel.Driver(tunnel.Technology(by)) == driver
	})
}

// A host's kernel learns WireGuard, and its operator has it use that: the two drivers
// cannot run beside each other, so its tunnels go over to IPsec meanwhile. Then all is
// taken back.
func TestADriverIsReplacedByTheOtherOfItsTechnology(t *testing.T) {
	t.Parallel()
	cloud, edge := hasBoth(t)
	f := sends(t, edge, cloud, "w")
	edge.Kernel.LoadModules()
	restarts(edge, tunnel.WireGuardKernel, tunnel.IPsecUserspace)
	awaitDriver(t, edge, tunnel.WireGuardKernel, "wireguard")
	awaitDriver(t, cloud, tunnel.WireGuardUserspace, "wireguard")
	f.noneIsLost(t, "wiw")
	for _, p := range edge.ListTunnels() {
		if strings.Contains(p.GetWhy(), "being replaced") {
			t.Errorf("edge-1 says that a driver is being replaced: %s", p.GetWhy())
		}
	}
}

// What a policy demands holds while a driver is replaced, too: there is nothing to go
// over to.
func TestADriverThatAPolicyDemandsIsReplacedAtOnce(t *testing.T) {
	t.Parallel()
	cloud, edge := hasBoth(t)
	if err := setRule(cloud, "any", "wireguard", false)(t); err != nil {
		t.Fatal(err)
	}
	f := sends(t, edge, cloud, "w")
	edge.Kernel.LoadModules()
	restarts(edge, tunnel.WireGuardKernel, tunnel.IPsecUserspace)
	awaitDriver(t, edge, tunnel.WireGuardKernel, "wireguard")
	daemontest.Await(t, "packets arrive", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		lost := len(f.lost)
		f.lost = nil
		return lost == 0
	})
	f.stop()
	if f.by != "w" {
		t.Errorf("packets went by %q, want WireGuard alone", f.by)
	}
}

// IPsec's drivers replace each other as WireGuard's do, by way of that.
func TestIPsecIsReplacedByWayOfWireGuard(t *testing.T) {
	t.Parallel()
	cloud, edge := hasBoth(t)
	edge.Kernel.LoadModules()
	cloud.Kernel.LoadModules()
	restarts(cloud, tunnel.WireGuardUserspace, tunnel.IPsecKernel)
	restarts(edge, tunnel.WireGuardUserspace, tunnel.IPsecKernel)
	awaitDriver(t, edge, tunnel.IPsecKernel, "ipsec") // as both have it in the kernel
	awaitDriver(t, cloud, tunnel.IPsecKernel, "ipsec")
	f := sends(t, edge, cloud, "i")
	restarts(edge, tunnel.WireGuardUserspace, tunnel.IPsecUserspace)
	awaitDriver(t, edge, tunnel.WireGuardUserspace, "wireguard") // which is the faster one now
	daemontest.AwaitWithin(t, patience, "IPsec is gone", func() bool { return !edge.Kernel.Has(tunnel.IPsec) })
	f.noneIsLost(t, "iw")
}
