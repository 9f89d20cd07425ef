package netns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
)

// An operator has a host use IPsec alone, then all that it has, by a restart each
// time: its tunnels are moved, the other nodes follow, and what is excluded goes.
//
//	edge-1: blue-web ══ 10 ms pings, a connection ══ edge-2: blue-db       cloud-1
func TestAnExcludedDriverIsLeftWithoutLoss(t *testing.T) {
	t.Parallel()
	lab.NeedsAllDrivers(t)
	l := lab.NewTimed(t)
	hosts, blue, red := twoTenants(l)
	cloud, edge1, edge2 := hosts[0], hosts[1], hosts[2]
	blue.web.Reaches(blue.db, "icmp")
	blue.db.Reaches(blue.web, "icmp")
	before, _ := blue.web.Interface("eth0")
	for _, c := range []struct{ allowed, technology, device string }{
		{"ipsec-kernel,ipsec-userspace", "ipsec", "w"}, {"", "wireguard", "i"},
	} {
		wire, traffic, was := edge1.Wiretap(), run(blue.web, blue.db), driverTo(edge1, edge2)
		traffic.flow.Runs()
		delete(edge1.Flags, "tunnel-drivers")
		if c.allowed != "" {
			edge1.Flags["tunnel-drivers"] = c.allowed
		}
		edge1.Restart()
		for _, other := range []*lab.Host{cloud, edge2} {
			awaitTechnology(l, edge1, other, c.technology)
			awaitTechnology(l, other, edge1, c.technology)
		}
		l.Await("edge-1 has one tunnel device, and not the one that it must not use", func() error {
			devices := slices.DeleteFunc(edge1.Devices(), func(name string) bool {
				return strings.HasPrefix(name, "env") || strings.HasSuffix(name, "h") // endpoints', and what holds packets
			})
			if len(devices) != 1 || strings.HasPrefix(devices[0], "en") && strings.HasSuffix(devices[0], c.device) {
				return fmt.Errorf("it has %v", devices)
			}
			return nil
		})
		traffic.isMoved(t, "a host's setting", was, driverTo(edge1, edge2))
		wire.ShowsNone("a tenant's or an overlay packet in clear", isInClear)
		why := edge2.MustCtl("tunnel", "list", "-o", "json")
		if excluded := strings.Contains(why, "tunnel-drivers of edge-1 excludes wireguard-kernel, wireguard-userspace"); excluded != (c.allowed != "") {
			t.Errorf("edge-2 says of its tunnels:\n%s", why)
		}
		if now, _ := blue.web.Interface("eth0"); (now.MTU < before.MTU) != (c.allowed != "") || now.MTU > before.MTU {
			t.Errorf("the container's MTU was %d with WireGuard, and with %s it is %d", before.MTU, c.technology, now.MTU)
		}
	}
	red.web.Reaches(red.db, "icmp", "http/80")
	red.web.NeverReaches(blue.spare.IP, "icmp")
}

// A host that has nothing of what it may use is a member that can be asked, and
// says what is missing. It makes no device, and packets for the mesh end there.
func TestAHostThatCannotEncryptCarriesNothing(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	cloud := l.Mesh("cloud-1")[0]
	cloud.VPC("blue", "10.0.0.0/24")
	cloud.Group("blue", "all", open)
	bare := l.Host("bare-1")
	lacks := bare.Lacks()
	if len(lacks) == 0 {
		t.Skip("this machine can run wireguard-kernel, wireguard-userspace, ipsec-kernel and ipsec-userspace: there is none that a host could lack")
	}
	bare.Flags["tunnel-drivers"] = strings.Join(lacks, ",")
	bare.Start()
	bare.Join(cloud.Token())
	words := append([]string{"this host has no way to encrypt", "no plaintext"}, lacks...)
	bare.CtlFails(words, "endpoint", "attach", "web", "--vpc", "blue", "--ip", "10.0.0.2", "--group", "all", "--netns", "/run/netns/none")
	status := bare.MustCtl("status")
	for _, word := range words {
		if !strings.Contains(status, word) {
			t.Errorf("status lacks %q:\n%s", word, status)
		}
	}
	l.Await("cloud-1 says why there is no tunnel", func() error {
		if said := cloud.MustCtl("tunnel", "list", "-o", "json"); !strings.Contains(said, "node bare-1 has no way to encrypt") {
			return fmt.Errorf("it says\n%s", said)
		}
		return nil
	})
	node, err := cloud.Node("cloud-1")
	if err != nil {
		t.Fatal(err)
	}
	bare.Insider("insider").NeverReaches(netip.MustParseAddr(node.GetAddress()), "icmp")
	if devices := bare.Devices(); len(devices) > 0 {
		t.Errorf("there are devices %v", devices)
	}
	if pids := bare.TunnelPIDs(); len(pids) > 0 {
		t.Errorf("there are processes %v", pids)
	}
}
