package netns

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"edgenet.dev/edgenet/test/netns/lab"
)

// A host is stolen and evicted. It hears nothing of it and goes on as before, as a
// daemon that resists would: tunnels, programs and endpoints are as they were. The
// others have nothing to do with it any more, and lose nothing among themselves.
// Its daemon comes back, learns it, and cuts its tenants off.
//
//	cloud-1: db 10.0.0.2     edge-1: web 10.0.0.3     stolen: evil 10.0.0.4, near 10.0.0.5
func TestAStolenHostIsEvicted(t *testing.T) {
	t.Parallel()
	l := lab.NewTimed(t)
	hosts := l.Mesh("cloud-1", "edge-1", "stolen")
	hosts[0].VPC("blue", "10.0.0.0/24")
	hosts[0].Group("blue", "all", open)
	attach := func(host *lab.Host, name, ip string) *lab.Container {
		c := host.Container(name)
		c.Attach("blue", ip, "all")
		return c
	}
	db, web := attach(hosts[0], "db", "10.0.0.2"), attach(hosts[1], "web", "10.0.0.3")
	evil, near := attach(hosts[2], "evil", "10.0.0.4"), attach(hosts[2], "near", "10.0.0.5")
	for _, victim := range []*lab.Container{db, web} {
		evil.Reaches(victim, "icmp")
		victim.Reaches(evil, "icmp")
	}
	web.Reaches(db, "icmp")

	hosts[2].Kill()
	evil.Reaches(db, "icmp")
	ping := web.Pings(db.IP)
	hosts[0].MustCtl("node", "evict", "stolen")
	for _, host := range hosts[:2] {
		l.AwaitWithin(5*time.Second, host.Name+" has evicted it", func() error { return hasEvicted(host, "stolen") })
	}
	for _, victim := range []*lab.Container{db, web} {
		evil.Blocked(victim, "icmp") // The kernel follows the records, a moment later.
	}
	db.NeverReaches(evil.IP, "icmp")
	if out := hosts[0].MustCtl("node", "evict", "stolen"); !strings.Contains(out, "already") {
		t.Errorf("evicted again, it says %q", out)
	}
	hosts[0].CtlFails([]string{"cannot evict itself"}, "node", "evict", "cloud-1")
	hosts[0].CtlFails([]string{"not found"}, "node", "evict", "nobody")
	hosts[1].CtlFails([]string{"not an authority", "cloud-1"}, "node", "evict", "cloud-1")
	hosts[0].MustCtl("gossip-key", "rotate")
	if log := hosts[0].MustCtl("audit", "list"); !containsAll(log, "evict node stolen", "rotate gossip key") {
		t.Errorf("the audit log lacks it:\n%s", log)
	}

	hosts[2].Start()
	l.Await("the stolen host says that it was evicted", func() error {
		if status := hosts[2].MustCtl("status"); !strings.Contains(status, "was evicted from the mesh") {
			return fmt.Errorf("its status is\n%s", status)
		}
		return nil
	})
	evil.Blocked(near, "icmp")
	db.NeverReaches(evil.IP, "icmp")
	ping.Loses(0)
}

// hasEvicted returns an error unless the host lists a node as evicted and has none
// of its endpoints.
func hasEvicted(host *lab.Host, name string) error {
	n, err := host.Node(name)
	if err != nil {
		return err
	}
	endpoints, err := host.Endpoints()
	if err != nil {
		return err
	}
	for _, e := range endpoints {
		if e.GetNode() == name || e.GetNodeId() == n.GetId() {
			return fmt.Errorf("endpoint %s of %s is still there", e.GetName(), name)
		}
	}
	if n.GetState() != "evicted" {
		return fmt.Errorf("%s is %s", name, n.GetState())
	}
	return nil
}
