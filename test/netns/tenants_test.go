package netns

import (
	"fmt"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/frame"
)

// tenant is one tenant's three containers; "spare" is where only one of two
// tenants has something.
type tenant struct{ web, db, spare *lab.Container }

// twoTenants attaches both tenants, at the same addresses of the same CIDR.
//
//	edge-1                    edge-2
//	  blue-web 10.0.0.2         blue-db 10.0.0.3
//	  red-web  10.0.0.2         red-db  10.0.0.3
//	  blue-spare 10.0.0.4
func twoTenants(l *lab.Lab) (hosts []*lab.Host, blue, red tenant) {
	hosts = l.Mesh("cloud-1", "edge-1", "edge-2")
	cloud, edge1, edge2 := hosts[0], hosts[1], hosts[2]
	attach := func(host *lab.Host, name, vpc, ip string) *lab.Container {
		c := host.Container(name).Serves("tcp/7", "udp/53", "http/80")
		c.Attach(vpc, ip, "all")
		return c
	}
	for _, vpc := range []string{"blue", "red"} {
		cloud.VPC(vpc, "10.0.0.0/24")
		cloud.Group(vpc, "all", open)
	}
	blue = tenant{
		web:   attach(edge1, "blue-web", "blue", "10.0.0.2"),
		db:    attach(edge2, "blue-db", "blue", "10.0.0.3"),
		spare: attach(edge1, "blue-spare", "blue", "10.0.0.4"),
	}
	red = tenant{
		web: attach(edge1, "red-web", "red", "10.0.0.2"),
		db:  attach(edge2, "red-db", "red", "10.0.0.3"),
	}
	for _, host := range hosts {
		l.Await(host.Name+" knows all five endpoints", func() error {
			endpoints, err := host.Endpoints()
			if err == nil && len(endpoints) != 5 {
				err = fmt.Errorf("endpoints %v", endpoints)
			}
			return err
		})
	}
	return hosts, blue, red
}

// Two tenants use the same addresses on the same hosts. Each reaches its own,
// and where only the other has something there is nothing.
func TestTwoTenantsWithTheSameAddresses(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	_, blue, red := twoTenants(l)

	for _, own := range []tenant{blue, red} {
		own.web.Reaches(own.db, "icmp", "tcp/7", "udp/53", "http/80")
		own.db.Reaches(own.web, "icmp", "tcp/7", "udp/53", "http/80")
	}
	blue.web.Reaches(blue.spare, "icmp", "tcp/7", "udp/53", "http/80")
	blue.db.Reaches(blue.spare, "icmp", "http/80")

	capture := blue.spare.Captures("eth0")
	red.web.NeverReaches(blue.spare.IP, "icmp", "tcp/7", "udp/53")
	red.db.NeverReaches(blue.spare.IP, "icmp", "tcp/7", "udp/53")
	capture.ShowsNone("a packet of red's", opens)
}

// opens matches what begins something: the rest of a TCP connection that blue
// had a moment ago may still come in.
func opens(f frame.Frame) bool {
	segment := f.Protocol == frame.ProtoTCP && len(f.Payload) > 13 && f.Payload[13]&0x12 != 0x02
	return f.EtherType == frame.TypeIPv4 && !segment
}

// Large transfers work in both directions: segmentation, receive merging and
// the MTU are right, on TCP and on UDP up to the MTU.
func TestBulkTrafficCrossesHosts(t *testing.T) {
	t.Parallel()
	l := lab.NewTimed(t)
	hosts, blue, _ := twoTenants(l)
	awaitSize(l, hosts[1], hosts[2]) // until then less is taken for certain
	eth0, ok := blue.web.Interface("eth0")
	if !ok {
		t.Fatal("the container has no eth0")
	}
	blue.db.Serves("udp/9", "tcp/9")
	for _, size := range []int{100, 1000, eth0.MTU - 28} {
		blue.web.Sends(blue.db, "udp/9", size, 50)
	}
	for _, size := range []int{1_000, 100_000, 20_000_000} {
		blue.web.Sends(blue.db, "tcp/9", size, 1)
		blue.db.Sends(blue.web, "tcp/7", size, 1)
	}
	blue.web.Sends(blue.spare, "tcp/7", 20_000_000, 1)
}

// awaitSize awaits that a host knows how large packets to another may be.
func awaitSize(l *lab.Lab, host, to *lab.Host) {
	l.Await(fmt.Sprintf("%s knows how large packets to %s may be", host, to), func() error {
		node, err := host.Node(to.Name)
		if err == nil && node.GetTunnel().GetPathMtuBasis() != "confirmed" {
			err = fmt.Errorf("it is %s", node.GetTunnel().GetPathMtuBasis())
		}
		return err
	})
}

// A container finds its interface as a container should: its address with the
// VPC's prefix length, a default route by the gateway, and the gateway's MAC.
func TestAContainersInterfaceIsComplete(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("edge-1", "edge-2")
	hosts[0].VPC("blue", "10.0.0.0/24", "10.1.0.0/16")
	hosts[0].Group("blue", "all", open)
	web := hosts[0].Container("web").Serves("http/80")
	far := hosts[1].Container("far").Serves("http/80")
	web.Attach("blue", "10.0.0.2", "all")
	far.Attach("blue", "10.1.2.3", "all")

	eth0, ok := web.Interface("eth0")
	if !ok || len(eth0.Addresses) == 0 || eth0.Addresses[0].String() != "10.0.0.2/24" {
		t.Fatalf("the container has %v, want eth0 with 10.0.0.2/24", web.Interfaces())
	}
	endpoint, err := hosts[0].Endpoint("blue", "web")
	if err != nil || endpoint.GetMac() != eth0.MAC {
		t.Errorf("the endpoint's MAC is %q (%v), the interface has %s", endpoint.GetMac(), err, eth0.MAC)
	}
	routes := web.Runs("ip", "route").Stdout
	if !containsAll(routes, "default via 10.0.0.1") {
		t.Errorf("no default route by the gateway:\n%s", routes)
	}
	web.Reaches(far, "icmp", "http/80")
	far.Reaches(web, "icmp", "http/80")
	if neighbours := web.Runs("ip", "neigh").Stdout; !containsAll(neighbours, frame.GatewayMAC.String()) {
		t.Errorf("the gateway is not at %s:\n%s", frame.GatewayMAC, neighbours)
	}
	if links := web.Runs("ip", "-br", "link").Stdout; eth0.MTU < 1280 || eth0.MTU > 1420 {
		t.Errorf("the MTU is %d:\n%s", eth0.MTU, links)
	}
}
