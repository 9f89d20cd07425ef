package netns

import (
	"fmt"
	"strings"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
)

// A detached container keeps nothing, its host keeps nothing of it, and its
// address is free.
func TestDetachLeavesNothing(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts, blue, red := twoTenants(l)
	blue.web.Reaches(blue.db, "icmp")
	blue.db.Detach()
	if interfaces := blue.db.Interfaces(); len(interfaces) != 1 {
		t.Errorf("the detached container has %v, want lo alone", interfaces)
	}
	blue.web.Blocked(blue.db, "icmp")
	hosts[2].CtlFails([]string{"blue-db"}, "endpoint", "detach", "blue-db", "--vpc", "blue")
	if devices := hosts[2].EndpointDevices(); len(devices) != 1 {
		t.Errorf("edge-2 has the devices %v, want red-db's alone", devices)
	}
	for _, host := range hosts {
		l.Await(host.Name+" has forgotten the endpoint", func() error {
			if err := endpointIs(host, "blue-db", "edge-2", "ready"); err == nil {
				return fmt.Errorf("it is still there")
			}
			return nil
		})
	}
	red.web.Reaches(red.db, "icmp", "http/80")
	again := hosts[0].Container("other").Serves("http/80")
	again.Attach("blue", "10.0.0.3", "all")
	blue.web.Reaches(again, "icmp", "http/80")
}

// A node that leaves takes its endpoints with it and leaves nothing on its host,
// with the daemon still there; it can join again.
func TestLeaveLeavesNothing(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts, blue, red := twoTenants(l)
	cloud, edge1, edge2 := hosts[0], hosts[1], hosts[2]
	red.web.Reaches(red.db, "icmp")
	edge2.MustCtl("leave")
	edge2.LeavesNothing()
	blue.web.Blocked(blue.db, "icmp")
	for _, host := range []*lab.Host{cloud, edge1} {
		l.Await(host.Name+" has no endpoint of edge-2", func() error {
			for _, name := range []string{"blue-db", "red-db"} {
				if err := endpointIs(host, name, "edge-2", "ready"); err == nil {
					return fmt.Errorf("%s is still there", name)
				}
			}
			return nil
		})
	}
	edge2.CtlFails([]string{"mesh"}, "leave")

	edge2.Join(cloud.Token())
	back := edge2.Container("back").Serves("http/80")
	l.Await("edge-2 knows the VPC again", func() error {
		if result := edge2.Ctl("group", "show", "all", "--vpc", "blue"); result.Code != 0 {
			return fmt.Errorf("%s", result.Stderr)
		}
		return nil
	})
	back.Attach("blue", "10.0.0.3", "all")
	blue.web.Reaches(back, "icmp", "http/80")
}

// edgenetd --cleanup removes all, refuses while a daemon runs, may be repeated,
// and the next start brings everything back.
func TestCleanUpAndComeBack(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts, blue, _ := twoTenants(l)
	edge2 := hosts[2]
	blue.web.Reaches(blue.db, "icmp")

	code, said := edge2.RunDaemon("--cleanup", "--state-dir", edge2.StateDir(), "--run-dir", edge2.RunDir())
	if code == 0 || !strings.Contains(said, "run") {
		t.Errorf("cleanup under a running daemon: exit %d: %s", code, said)
	}
	blue.web.Reaches(blue.db, "icmp")

	edge2.Stop()
	edge2.CleanUp()
	edge2.LeavesNothing()
	edge2.CleanUp()
	if interfaces := blue.db.Interfaces(); len(interfaces) != 1 {
		t.Errorf("after cleanup the container has %v, want lo alone", interfaces)
	}
	blue.web.Blocked(blue.db, "icmp")

	edge2.Start()
	l.AwaitMesh(hosts...)
	blue.web.Reaches(blue.db, "icmp", "http/80")
}
