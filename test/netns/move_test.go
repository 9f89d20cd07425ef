package netns

import (
	"fmt"
	"strings"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/frame"
)

// A workload dies on one host and is started on another: its address follows,
// and the old place answers for it no more.
//
//	edge-1: app 10.0.0.9 (old)     edge-2: app 10.0.0.9 (new)     edge-3: client 10.0.0.2
func TestAnEndpointMoves(t *testing.T) {
	t.Parallel()
	l := lab.NewTimed(t)
	hosts := l.Mesh("edge-1", "edge-2", "edge-3")
	hosts[0].VPC("blue", "10.0.0.0/24")
	hosts[0].Group("blue", "all", open)
	client := hosts[2].Container("client")
	client.Attach("blue", "10.0.0.2", "all")
	older := hosts[0].Container("app").Serves("http/80", "tcp/7")
	older.Attach("blue", "10.0.0.9", "all")
	client.Reaches(older, "icmp", "http/80")

	newer := hosts[1].Container("app").Serves("http/80", "tcp/7")
	newer.Attach("blue", "10.0.0.9", "all")
	client.Reaches(newer, "icmp", "http/80")
	l.Await("edge-1 says that its endpoint is superseded", func() error {
		return endpointIs(hosts[0], "app", hosts[0].Name, "superseded")
	})

	// The loser is cut off: nothing comes to it, nothing leaves it.
	capture := older.Captures("eth0")
	client.Reaches(newer, "icmp", "http/80", "tcp/7")
	older.NeverReaches(client.IP, "icmp")
	capture.ShowsNone("a packet of the client's", func(f frame.Frame) bool {
		return f.EtherType == frame.TypeIPv4 && f.Src == client.IP
	})
	for _, host := range hosts {
		l.Await(host.Name+" sees it on edge-2", func() error { return endpointIs(host, "app", "edge-2", "ready") })
	}

	// And back again.
	older.Attach("blue", "10.0.0.9", "all")
	client.Reaches(older, "icmp", "http/80")
	newer.NeverReaches(client.IP, "icmp")

	// While its host is cut off it is started elsewhere, and ends there. Neither
	// then nor later does the old place answer for the address.
	hosts[0].CutOff()
	newer.Attach("blue", "10.0.0.9", "all")
	client.Reaches(newer, "icmp", "http/80")
	newer.Detach()
	hosts[0].PlugIn()
	l.Await("edge-1 finds its endpoint superseded", func() error {
		return endpointIs(hosts[0], "app", hosts[0].Name, "superseded")
	})
	older.NeverReaches(client.IP, "icmp")
	client.NeverReaches(older.IP, "icmp")
	if status := hosts[0].MustCtl("status"); !strings.Contains(status, "endpoint app of vpc blue is superseded") {
		t.Errorf("edge-1 says no word of it:\n%s", status)
	}

	// A host dies. Who sends to its endpoints is told so, until it is back.
	older.Attach("blue", "10.0.0.9", "all")
	client.Reaches(older, "icmp", "http/80")
	hosts[0].CutOff()
	l.Await("a connection to a dead host's endpoint fails at once", func() error {
		if got := client.Try(older.IP, "http/80"); !strings.Contains(got.Reason, "no route to host") {
			return fmt.Errorf("%s: %s", got.Outcome, got.Reason)
		}
		return nil
	})
	hosts[0].PlugIn()
	client.Reaches(older, "icmp", "http/80")
}

// endpointIs returns an error unless blue's endpoint of that name has that state
// on that node.
func endpointIs(host *lab.Host, name, node, state string) error {
	endpoints, err := host.Endpoints()
	if err != nil {
		return err
	}
	for _, each := range endpoints {
		if each.GetName() == name && each.GetNode() == node && each.GetState() == state {
			return nil
		}
	}
	return fmt.Errorf("not among %v", endpoints)
}

// One address is attached under two names: the latest wins everywhere, on one
// host as on two.
//
//	edge-1: one, two       edge-2: three, client       all three at 10.0.0.9
func TestTheSameAddressTwice(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("edge-1", "edge-2")
	hosts[0].VPC("blue", "10.0.0.0/24")
	hosts[0].Group("blue", "all", open)
	client := hosts[1].Container("client")
	client.Attach("blue", "10.0.0.2", "all")

	var claimed []*lab.Container
	for _, claim := range []struct {
		host *lab.Host
		name string
	}{{hosts[0], "one"}, {hosts[0], "two"}, {hosts[1], "three"}} {
		c := claim.host.Container(claim.name).Serves("http/80")
		c.Attach("blue", "10.0.0.9", "all")
		client.Reaches(c, "icmp", "http/80")
		for _, loser := range claimed {
			loser.BlockedAddr(client.IP, "icmp")
			l.Await(loser.Name+" is superseded", func() error {
				return endpointIs(hosts[1], loser.Name, loser.Host().Name, "superseded")
			})
		}
		claimed = append(claimed, c)
	}

	// When the winner goes, nobody answers who is superseded... unless attached
	// anew.
	claimed[2].Detach()
	claimed[0].Attach("blue", "10.0.0.9", "all")
	client.Reaches(claimed[0], "icmp", "http/80")
}
