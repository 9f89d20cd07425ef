package netns

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
)

// Four hosts become one mesh, and each sees all of it.
//
//	cloud-1 ──┐
//	edge-1  ──┼── 198.18.0.0/24
//	edge-2  ──┤
//	edge-3  ──┘
func TestAMeshForms(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("cloud-1", "edge-1", "edge-2", "edge-3")

	want := listed(t, hosts[0])
	names := []string{"cloud-1", "edge-1", "edge-2", "edge-3"}
	for _, host := range hosts {
		got := listed(t, host)
		if !slices.Equal(names, sortedNames(got)) {
			t.Errorf("%s lists %v, want %v", host.Name, sortedNames(got), names)
		}
		for name, node := range got {
			if node.ID != want[name].ID || node.Prefix != want[name].Prefix {
				t.Errorf("%s and %s disagree on %s: %v and %v", host.Name, hosts[0].Name, name, node, want[name])
			}
		}
		if table := host.MustCtl("node", "list"); !containsAll(table, names...) {
			t.Errorf("the table of %s lacks a node:\n%s", host.Name, table)
		}
	}
	for _, host := range hosts {
		l.Await(host.Name+" has measured every tunnel that it needs", func() error { return measured(host) })
	}
	if !slices.Contains(want["cloud-1"].Roles, "authority") {
		t.Errorf("the first node has the roles %v, want authority among them", want["cloud-1"].Roles)
	}
	if !slices.Contains(want["edge-1"].Roles, "edge") || slices.Contains(want["edge-1"].Roles, "authority") {
		t.Errorf("a joined node has the roles %v, want edge and no authority", want["edge-1"].Roles)
	}
}

// node is what programs read of edgenetctl node list.
type node struct {
	Name, ID, Prefix, Address, State string
	Roles                            []string
}

// listed returns the nodes by name, as edgenetctl prints them for programs.
func listed(t *testing.T, host *lab.Host) map[string]node {
	t.Helper()
	var nodes []node
	host.CtlJSON(&nodes, "node", "list")
	byName := make(map[string]node)
	prefixes := make(map[string]bool)
	for _, each := range nodes {
		byName[each.Name] = each
		prefix, err := netip.ParsePrefix(each.Prefix)
		if err != nil || prefix.Bits() != 64 || prefix.Addr().As16()[0] != 0xfd {
			t.Errorf("%s: prefix %q of %s is no /64 of fd00::/8", host.Name, each.Prefix, each.Name)
		}
		if prefixes[each.Prefix] {
			t.Errorf("%s: prefix %s is there twice", host.Name, each.Prefix)
		}
		prefixes[each.Prefix] = true
	}
	return byName
}

func sortedNames(nodes map[string]node) []string {
	var names []string
	for name := range nodes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// measured returns an error unless every tunnel that leads to the cloud, or from
// there, has a handshake and a time, and there is no other.
func measured(host *lab.Host) error {
	nodes, err := host.Nodes()
	if err != nil {
		return err
	}
	for _, each := range nodes {
		if each.GetLocal() {
			continue
		}
		tunnel, needed := each.GetTunnel(), host.Name == "cloud-1" || each.GetName() == "cloud-1"
		if needed && (tunnel.GetRttMs() <= 0 || tunnel.GetLastHandshake() == nil) || !needed && tunnel.GetState() != "not needed" {
			return fmt.Errorf("tunnel to %s: %v", each.GetName(), tunnel)
		}
	}
	return nil
}

// What is made on one node is in force, and can be read, on every node.
//
//	cloud-1 (authority)   edge-1: makes VPC and group   edge-2: web
func TestEveryNodeAnswersForTheWholeMesh(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("cloud-1", "edge-1", "edge-2")
	edge1, edge2 := hosts[1], hosts[2]

	edge1.VPC("blue", "10.0.0.0/24")
	edge1.Group("blue", "web", "ingress tcp 80 from any")
	web := edge2.Container("web")
	web.Attach("blue", "10.0.0.2", "web")

	for _, host := range hosts {
		l.Await(host.Name+" knows the VPC, the group and the endpoint", func() error { return knowsBlue(host, edge2) })
	}

	// A change of what is there already changes nothing, or is refused.
	edge2.VPC("blue", "10.0.0.0/24")
	edge2.CtlFails([]string{"blue"}, "vpc", "create", "blue", "--cidr", "10.9.0.0/24")
	edge1.CtlFails([]string{"blue"}, "vpc", "delete", "blue")

	web.Detach()
	l.Await("the VPC can be deleted", func() error { return shows(hosts[0], "vpc", "delete", "blue") })
	for _, host := range hosts {
		l.Await(host.Name+" has forgotten the VPC", func() error {
			var vpcs, groups []struct{ Name string }
			host.CtlJSON(&vpcs, "vpc", "list")
			host.CtlJSON(&groups, "group", "list")
			if len(vpcs)+len(groups) > 0 {
				return fmt.Errorf("VPCs %v, groups %v", vpcs, groups)
			}
			return nil
		})
	}
}

// knowsBlue returns an error unless the host tells of all that the test made.
func knowsBlue(host, at *lab.Host) error {
	var vpcs []struct {
		Name      string
		CIDRs     []string
		Endpoints int
	}
	host.CtlJSON(&vpcs, "vpc", "list")
	if len(vpcs) != 1 || vpcs[0].Name != "blue" || vpcs[0].Endpoints != 1 {
		return fmt.Errorf("VPCs %+v", vpcs)
	}
	var groups []struct {
		Name, VPC string
		Rules     []struct{ Direction, Protocol, Peer string }
	}
	host.CtlJSON(&groups, "group", "list", "--vpc", "blue")
	// Every VPC has a group of its own for endpoints that carry none.
	if len(groups) != 2 || groups[0].Name != "default" || len(groups[0].Rules) != 0 ||
		len(groups[1].Rules) != 1 || groups[1].Rules[0].Protocol != "tcp" {
		return fmt.Errorf("groups %+v", groups)
	}
	endpoint, err := host.Endpoint("blue", "web")
	if err != nil {
		return err
	}
	if endpoint.GetNode() != at.Name || endpoint.GetIp() != "10.0.0.2" || endpoint.GetState() != "ready" {
		return fmt.Errorf("endpoint %v", endpoint)
	}
	return nil
}

// A node that is killed for good is noticed by all others, and one that leaves
// is gone from their lists at once. Who follows the events of a node is told, also when
// its daemon is killed meanwhile.
func TestDeadAndLeftNodesAreTold(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("cloud-1", "edge-1", "edge-2")
	cloud, edge1, edge2 := hosts[0], hosts[1], hosts[2]

	told := cloud.FollowsEvents()
	edge2.Kill()
	for _, host := range []*lab.Host{cloud, edge1} {
		l.Await(host.Name+" sees edge-2 dead", func() error { return seesDead(host, edge2.Name) })
	}
	told.Tells("node-dead", edge2)
	cloud.Kill()
	edge2.Start()
	cloud.Start()
	l.AwaitMesh(hosts...)
	told.Tells("node-back", edge2)

	edge1.MustCtl("leave")
	told.Tells("node-left", edge1)
	told.MissesNothing()
	for _, host := range []*lab.Host{cloud, edge2} {
		l.Await(host.Name+" sees that edge-1 left", func() error {
			nodes, err := host.Nodes()
			if err != nil {
				return err
			}
			for _, each := range nodes {
				if each.GetName() == edge1.Name && each.GetState() != "left" {
					return fmt.Errorf("edge-1 is %s", each.GetState())
				}
			}
			return nil
		})
	}
	if mesh := meshOf(edge1); mesh != "" {
		t.Errorf("after leave the node says it is in mesh %s", mesh)
	}
	edge1.LeavesNothing()
}

// seesDead returns an error unless a node is dead for a host.
func seesDead(host *lab.Host, name string) error {
	found, err := host.Node(name)
	if err != nil {
		return err
	}
	if found.GetState() != "dead" {
		return fmt.Errorf("%s is %s", name, found.GetState())
	}
	return nil
}
