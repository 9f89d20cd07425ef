package netns

import (
	"fmt"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/frame"
)

// A container is the router of a network of its own, in both families. Who is in it
// has no endpoint, and is reached all the same; nobody else may speak for it.
//
//	edge-1: router .2 ── nested 10.0.1.2, fd00:1:0:0:1::2     edge-2: client .3
//	        thief .4
func TestANetworkBehindAnEndpoint(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("edge-1", "edge-2")
	hosts[0].VPC("blue", "10.0.0.0/16", "fd00:1::/64")
	hosts[0].AddRule("blue", "default", "ingress any - from any")
	router, thief := hosts[0].Container("router"), hosts[0].Container("thief")
	client := hosts[1].Container("client").Serves("tcp/7", "udp/53")
	thief.Attach("blue", "10.0.0.4,fd00:1::4")
	client.Attach("blue", "10.0.0.3,fd00:1::3")
	hosts[0].MustCtl("endpoint", "attach", "router", "--vpc", "blue", "--ip", "10.0.0.2,fd00:1::2",
		"--prefix", "10.0.1.0/28", "--prefix", "fd00:1:0:0:1::/80", "--netns", router.Netns())
	router.VPC, router.IP, router.IP6 = "blue", addr("10.0.0.2"), addr("fd00:1::2")
	nested := behind(t, hosts[0], router)

	for _, to := range []*lab.Container{nested, nested.On6()} {
		for _, from := range []*lab.Container{client, thief} {
			from.Reaches(to, "icmp", "tcp/7", "udp/53")
			from.Sends(to, "tcp/7", 1_000_000, 1)
			pings(t, from, to, "-s", "2000")
		}
	}
	for _, to := range []*lab.Container{client, client.On6()} {
		nested.Reaches(to, "icmp", "tcp/7", "udp/53")
		nested.Sends(to, "tcp/7", 1_000_000, 1)
	}

	capture := client.Captures("eth0")
	mac := thief.MAC()
	for _, packet := range [][]byte{tcp(nested.IP, client.IP, forged), tcp(nested.IP6, client.IP6, forged)} {
		lie := lie{what: "from a network behind another", reason: "spoofed-source", frames: [][]byte{
			frame.Ethernet(frame.GatewayMAC, mac, etherType(packet), packet),
		}}
		counted(t, thief, lie, func() map[string]uint64 { return drops(t, thief) }, func() {
			thief.Injects("eth0", lie.frames...)
		})
	}
	capture.ShowsAfter(thief)
	capture.ShowsNone("a forged packet", isForged)
}

// behind makes a container that is attached to nothing but a router's second
// interface.
func behind(t *testing.T, host *lab.Host, router *lab.Container) *lab.Container {
	t.Helper()
	nested := host.Container("nested")
	must(t, host.Insider("cabling"), "ip", "link", "add", "down0", "netns", fmt.Sprint(router.PID()), "mtu", "1500",
		"type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(nested.PID()), "mtu", "1500")
	for _, set := range []string{"net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"} {
		must(t, router, "sysctl", "-qw", set)
	}
	for _, side := range []struct {
		of          *lab.Container
		device, end string
	}{{router, "down0", "1"}, {nested, "eth0", "2"}} {
		must(t, side.of, "ip", "address", "add", "10.0.1."+side.end+"/28", "dev", side.device)
		must(t, side.of, "ip", "address", "add", "fd00:1:0:0:1::"+side.end+"/80", "dev", side.device, "nodad")
		must(t, side.of, "ip", "link", "set", side.device, "up")
	}
	must(t, nested, "ip", "route", "add", "default", "via", "10.0.1.1")
	must(t, nested, "ip", "route", "add", "default", "via", "fd00:1:0:0:1::1")
	nested.IP, nested.IP6 = addr("10.0.1.2"), addr("fd00:1:0:0:1::2")
	return nested.Serves("tcp/7", "udp/53")
}

// An IPv6 address that two endpoints share follows the one that says so by an
// unsolicited advertisement.
//
//	edge-1: a .2, client .4     edge-2: b .3     both carry fd00:1::100/128
func TestASharedIPv6AddressFollowsWhoAdvertisesIt(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("edge-1", "edge-2")
	hosts[0].VPC("blue", "fd00:1::/64")
	hosts[0].AddRule("blue", "default", "ingress any - from any")
	shared := addr("fd00:1::100")
	client := hosts[0].Container("client")
	client.Attach("blue", "fd00:1::4")
	a, b := hosts[0].Container("a"), hosts[1].Container("b")
	for c, ip := range map[*lab.Container]string{a: "fd00:1::2", b: "fd00:1::3"} {
		c.Host().MustCtl("endpoint", "attach", c.Name, "--vpc", "blue", "--ip", ip, "--prefix", "fd00:1::100/128", "--netns", c.Netns())
		must(t, c, "ip", "address", "add", "fd00:1::100/128", "dev", "eth0", "nodad")
		c.Serves("tcp/80")
	}
	for _, holder := range []*lab.Container{b, a, b} {
		says := frame.Advertisement(shared, addr("ff02::1"), shared, holder.MAC())
		lab.Await(t, fmt.Sprintf("%s has the shared address", holder), func() error {
			holder.Injects("eth0", frame.Ethernet(frame.Broadcast, holder.MAC(), frame.TypeIPv6, says))
			if reply := client.Try(shared, "tcp/80"); reply.Answer != holder.Host().Name+"/"+holder.Name {
				return fmt.Errorf("%s %s %s", reply.Outcome, reply.Answer, reply.Reason)
			}
			return nil
		})
	}
}
