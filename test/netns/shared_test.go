package netns

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/frame"
)

// movesWithin is the promise of how soon an address is where it was announced.
const movesWithin = 2 * time.Second

// An address that two endpoints share follows the one that announces it, at most
// 2 s later and on all hosts, as keepalived does it.
//
//	edge-1: a 10.0.0.2, client 10.0.0.4     edge-2: b 10.0.0.3     both carry 10.0.0.100/32
func TestASharedAddressFollowsWhoAnnouncesIt(t *testing.T) {
	t.Parallel()
	l := lab.NewTimed(t)
	hosts := l.Mesh("edge-1", "edge-2")
	hosts[0].VPC("blue", "10.0.0.0/24")
	hosts[0].AddRule("blue", "default", "ingress any - from any")
	shared := netip.MustParseAddr("10.0.0.100")
	client := hosts[0].Container("client")
	client.Attach("blue", "10.0.0.4")
	a, b := hosts[0].Container("a"), hosts[1].Container("b")
	for c, ip := range map[*lab.Container]string{a: "10.0.0.2", b: "10.0.0.3"} {
		c.Host().MustCtl("endpoint", "attach", c.Name, "--vpc", "blue", "--ip", ip, "--prefix", "10.0.0.100/32", "--netns", c.Netns())
		if result := c.Runs("ip", "address", "add", "10.0.0.100/32", "dev", "eth0"); result.Code != 0 {
			t.Fatalf("add the shared address: %+v", result)
		}
		c.Serves("tcp/80")
	}
	broadcast := net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	// As keepalived does, the announcement is repeated.
	announces := func(holder *lab.Container) {
		t.Helper()
		arp := frame.ARP(1, holder.MAC(), shared, shared)
		l.AwaitWithin(movesWithin, fmt.Sprintf("%s has the shared address", holder), func() error {
			holder.Injects("eth0", frame.Ethernet(broadcast, holder.MAC(), 0x0806, arp))
			if reply := client.Try(shared, "tcp/80"); reply.Answer != holder.Host().Name+"/"+holder.Name {
				return fmt.Errorf("%s %s %s", reply.Outcome, reply.Answer, reply.Reason)
			}
			return nil
		})
	}
	announces(b)
	announces(a)
	announces(b)
	// The daemon of the one that has it dies; the other endpoint announces.
	hosts[1].Kill()
	announces(a)
	hosts[1].Start()
	client.ReachesAddr(shared, "edge-1/a", "tcp/80")
}

// An endpoint is reached by each of its addresses, and loses them all with one.
//
//	edge-1: web 10.0.0.2, thief 10.0.0.4     edge-2: db 10.0.0.3, 10.0.0.4, 10.1.0.3
func TestAnEndpointIsReachedByAllItsAddresses(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("edge-1", "edge-2")
	hosts[0].VPC("blue", "10.0.0.0/24", "10.1.0.0/24")
	hosts[0].AddRule("blue", "default", "ingress tcp 80 from group:default")
	web, db := hosts[0].Container("web"), hosts[1].Container("db").Serves("tcp/80")
	web.Attach("blue", "10.0.0.2")
	hosts[1].MustCtl("endpoint", "attach", "db", "--vpc", "blue", "--ip", "10.0.0.3,10.0.0.4", "--ip", "10.1.0.3", "--netns", db.Netns())
	for _, addr := range []string{"10.0.0.3", "10.0.0.4", "10.1.0.3"} {
		web.ReachesAddr(netip.MustParseAddr(addr), "edge-2/db", "tcp/80")
	}
	thief := hosts[0].Container("thief").Serves("tcp/80")
	thief.Attach("blue", "10.0.0.4")
	web.ReachesAddr(netip.MustParseAddr("10.0.0.4"), "edge-1/thief", "tcp/80")
	web.BlockedAddr(netip.MustParseAddr("10.0.0.3"), "tcp/80")
	web.BlockedAddr(netip.MustParseAddr("10.1.0.3"), "tcp/80")
}
