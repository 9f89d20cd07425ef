package netns

import (
	"fmt"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
)

// listedTunnel is what programs read of edgenetctl tunnel list.
type listedTunnel struct {
	Node, Technology, Driver, PeerDriver, Why string
	Tunnel                                    struct{ Driver, Device, State string }
}

// awaitTechnology waits until packets to a node go by a technology, and nothing is
// moved.
func awaitTechnology(l *lab.Lab, host, to *lab.Host, technology string) {
	l.Await(fmt.Sprintf("%s reaches %s by %s", host, to, technology), func() error {
		var all []listedTunnel
		host.CtlJSON(&all, "tunnel", "list")
		for _, one := range all {
			if one.Node == to.Name {
				if one.Technology == technology && one.Tunnel.Driver == one.Driver && one.Tunnel.State == "up" {
					return nil
				}
				return fmt.Errorf("it is %+v", one)
			}
		}
		return fmt.Errorf("it is not in %+v", all)
	})
}

// A pair of nodes goes over to IPsec, back to WireGuard and again to IPsec, by
// policy, while tenants talk: no packet is lost, and none is seen in clear. What is
// not needed any more goes.
//
//	edge-1: blue-web ══ 10 ms pings, a connection ══ edge-2: blue-db       cloud-1
func TestAChangeOfTunnelsLosesNothing(t *testing.T) {
	t.Parallel()
	lab.NeedsAllDrivers(t)
	l := lab.NewTimed(t)
	hosts, blue, red := twoTenants(l)
	cloud, edge1, edge2 := hosts[0], hosts[1], hosts[2]
	blue.web.Reaches(blue.db, "icmp")
	blue.db.Reaches(blue.web, "icmp")
	processes := len(edge1.TunnelPIDs())
	before, _ := blue.web.Interface("eth0")
	for _, technology := range []string{"ipsec", "wireguard", "ipsec"} {
		wire, traffic, was := edge1.Wiretap(), run(blue.web, blue.db), driverTo(edge1, edge2)
		traffic.flow.Runs()
		cloud.MustCtl("tunnel", "policy", "set", "node:edge-1,node:edge-2", technology)
		awaitTechnology(l, edge1, edge2, technology)
		awaitTechnology(l, edge2, edge1, technology)
		if technology == "wireguard" {
			for _, host := range []*lab.Host{edge1, edge2} {
				l.Await(host.Name+" ends what it needs no more", func() error {
					if pids := host.TunnelPIDs(); len(pids) != processes {
						return fmt.Errorf("there are processes %v, before there were %d", pids, processes)
					}
					return nil
				})
			}
		}
		traffic.isMoved(t, "command", was, driverTo(edge1, edge2))
		wire.ShowsNone("a tenant's or an overlay packet in clear", isInClear)
	}
	if now, _ := blue.web.Interface("eth0"); now.MTU != before.MTU {
		t.Errorf("the container's MTU was %d and is %d", before.MTU, now.MTU)
	}
	awaitTechnology(l, edge1, cloud, "wireguard")
	red.web.Reaches(red.db, "icmp", "http/80")
	red.web.NeverReaches(blue.spare.IP, "icmp")
}

// A daemon that starts again finds by what nodes are reached, and moves none.
func TestAKilledDaemonStaysWithIPsec(t *testing.T) {
	t.Parallel()
	lab.NeedsAllDrivers(t)
	l := lab.NewTimed(t)
	hosts, blue, _ := twoTenants(l)
	cloud, edge1, edge2 := hosts[0], hosts[1], hosts[2]
	cloud.MustCtl("tunnel", "policy", "set", "edge-edge", "ipsec")
	awaitTechnology(l, edge1, edge2, "ipsec")
	awaitTechnology(l, edge2, edge1, "ipsec")
	blue.web.Reaches(blue.db, "icmp")
	traffic := run(blue.web, blue.db)
	traffic.flow.Runs()
	edge1.Kill()
	traffic.flow.Runs()
	edge1.Start()
	l.AwaitMesh(hosts...)
	awaitTechnology(l, edge1, edge2, "ipsec")
	traffic.noticedNothing(t, "edgenetd killed beside IPsec")
}
