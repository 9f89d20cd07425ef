package netns

import (
	"slices"
	"strings"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
)

// A change that breaks a policy test changes nothing anywhere; forced it takes
// hold, and the authority knows who did it.
//
//	cloud-1 (authority)   edge-1: web 10.0.0.2 (group web)   edge-2: db 10.0.0.3 (group db)
func TestAPolicyTestGuardsItsVPC(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("cloud-1", "edge-1", "edge-2")
	cloud, edge1, edge2 := hosts[0], hosts[1], hosts[2]
	cloud.VPC("blue", "10.0.0.0/24")
	cloud.Group("blue", "web")
	cloud.Group("blue", "db", "ingress tcp 5432 from group:web")
	web := edge1.Container("web")
	db := edge2.Container("db").Serves("tcp/5432", "tcp/22")
	web.Attach("blue", "10.0.0.2", "web")
	db.Attach("blue", "10.0.0.3", "db")
	l.Await("the authority knows both", func() error {
		return shows(cloud, "policy", "test", "add", "web reaches db:5432", "--vpc", "blue")
	})
	edge1.MustCtl("policy", "test", "add", "nobody reaches db:22", "--vpc", "blue")
	edge2.MustCtl("policy", "test", "run", "--vpc", "blue")

	const open = "tcp 10.0.0.2 -> 10.0.0.3 port 22"
	edge1.CtlFails([]string{`"nobody reaches db:22"`, open}, "group", "rule", "add", "db", "--vpc", "blue", "--direction", "ingress",
		"--proto", "tcp", "--from", "any")
	edge2.CtlFails([]string{`"web reaches db:5432"`}, "group", "rule", "remove", "db", "--vpc", "blue", "--direction", "ingress",
		"--proto", "tcp", "--ports", "5432", "--from", "group:web")
	for _, host := range hosts {
		if shown := host.MustCtl("group", "show", "db", "--vpc", "blue"); strings.Count(shown, "ingress") != 1 || !strings.Contains(shown, "5432") {
			t.Errorf("after refused changes, %s shows\n%s", host.Name, shown)
		}
	}
	web.Reaches(db, "tcp/5432")
	web.Blocked(db, "tcp/22")

	edge1.MustCtl("group", "rule", "add", "db", "--vpc", "blue", "--direction", "ingress", "--proto", "tcp", "--from", "any", "--force")
	web.Reaches(db, "tcp/22")
	if got := edge2.Ctl("policy", "test", "run", "--vpc", "blue"); got.Code != 1 || !strings.Contains(got.Stdout, open) {
		t.Errorf("with a broken test, run gives %+v", got)
	}
	if status := edge1.MustCtl("status"); !strings.Contains(status, "nobody reaches db:22") {
		t.Errorf("status does not tell of it:\n%s", status)
	}
	entries := broken(cloud)
	if len(entries) != 1 || !strings.HasPrefix(entries[0].Who, "node edge-1 (") || len(entries[0].Broken) != 1 {
		t.Errorf("the authority noted %+v", entries)
	}
	// On the authority itself it is a process that asks.
	cloud.MustCtl("group", "rule", "remove", "db", "--vpc", "blue", "--direction", "ingress", "--proto", "tcp", "--ports", "5432", "--from", "group:web")
	if got := cloud.CtlWithInput("[]", "group", "replace", "db", "--vpc", "blue", "-f", "-", "--force"); got.Code != 0 {
		t.Fatalf("replace: %+v", got)
	}
	entries = broken(cloud)
	if len(entries) != 2 || !strings.HasPrefix(entries[1].Who, "uid 0, pid ") {
		t.Errorf("then it noted %+v", entries)
	}
}

// noted is an entry of the audit log.
type noted struct {
	Who, What string
	Broken    []struct{ Assertion string }
}

// broken are the entries about changes that break tests: tokens and nodes have some, too.
func broken(h *lab.Host) []noted {
	var entries []noted
	h.CtlJSON(&entries, "audit", "list")
	return slices.DeleteFunc(entries, func(e noted) bool { return len(e.Broken) == 0 })
}
