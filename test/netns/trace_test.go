package netns

import (
	"fmt"
	"strings"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
)

// traced is what programs read of edgenetctl trace.
type traced struct {
	Verdict, Reason string
	Route           struct{ Kind, Node, Tunnel string }
	Source          *tracedSide
	Destination     *tracedSide
	Problems        []string
}

type tracedSide struct {
	Endpoint, Node   string
	Records, Program *struct {
		Passes          bool
		Group, Rule, By string
	}
}

// A trace says from any node what a real packet meets, and by which rule.
//
//	edge-1: web 10.0.0.2 (group web), dev 10.0.0.3     edge-2: db 10.0.0.4 (group db)
func TestATraceSaysWhatAPacketMeets(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("cloud-1", "edge-1", "edge-2")
	cloud, edge1, edge2 := hosts[0], hosts[1], hosts[2]
	cloud.VPC("blue", "10.0.0.0/24")
	cloud.Group("blue", "web", "egress tcp 5432,6379 to any", "egress icmp - to 10.0.0.4/32")
	cloud.Group("blue", "db", "ingress tcp 5432 from group:web", "ingress icmp - from any")
	web, dev := edge1.Container("web").Serves("tcp/6379"), edge1.Container("dev").Serves("tcp/6379")
	db := edge2.Container("db").Serves("tcp/5432", "tcp/6379", "http/80")
	web.Attach("blue", "10.0.0.2", "web")
	dev.Attach("blue", "10.0.0.3")
	db.Attach("blue", "10.0.0.4", "db")
	web.Reaches(db, "icmp") // Every host knows all of it.
	l.Await("all know all", func() error {
		for _, host := range hosts {
			if err := shows(host, "endpoint", "show", "db", "--vpc", "blue"); err != nil {
				return err
			}
		}
		return nil
	})

	for _, tt := range []struct {
		from    *lab.Container
		to      *lab.Container
		service string
		args    []string
		reason  string
		route   string
	}{
		{web, db, "tcp/5432", []string{"--proto", "tcp", "--port", "5432"}, "", "node"},
		{web, db, "tcp/6379", []string{"--proto", "tcp", "--port", "6379"}, "no-ingress-rule", "node"},
		{web, db, "http/80", []string{"--proto", "tcp", "--port", "80"}, "no-egress-rule", "node"},
		{dev, db, "tcp/5432", []string{"--proto", "tcp", "--port", "5432"}, "no-ingress-rule", "node"},
		{dev, db, "icmp", []string{"--proto", "icmp"}, "", "node"},
		{web, dev, "tcp/6379", []string{"--proto", "tcp", "--port", "6379"}, "no-ingress-rule", "local"},
	} {
		if tt.reason == "" {
			tt.from.Reaches(tt.to, tt.service)
		} else {
			tt.from.Blocked(tt.to, tt.service)
		}
		for _, host := range hosts {
			var got traced
			host.CtlJSON(&got, append([]string{"trace", "--vpc", "blue", "--from", tt.from.Name, "--to", tt.to.Name}, tt.args...)...)
			what := fmt.Sprintf("%s: trace from %s to %s %v: %+v", host.Name, tt.from.Name, tt.to.Name, tt.args, got)
			if len(got.Problems) > 0 && tt.reason != "no-egress-rule" || got.Route.Kind != tt.route || got.Reason != tt.reason {
				t.Error(what)
				continue
			}
			if want := map[bool]string{true: "passes", false: "dropped"}[tt.reason == ""]; got.Verdict != want || got.Source.Node != "edge-1" {
				t.Error(what)
			}
		}
	}

	// A node that cannot be asked is named, and the rest is told.
	edge2.Kill()
	var got traced
	edge1.CtlJSON(&got, "trace", "--vpc", "blue", "--from", "web", "--to", "db", "--proto", "tcp", "--port", "5432")
	if got.Verdict != "unknown" || got.Source.Program == nil || got.Destination.Program != nil || !strings.Contains(strings.Join(got.Problems, " "), "edge-2") {
		t.Errorf("without edge-2: %+v", got)
	}
	edge2.Start()
}
