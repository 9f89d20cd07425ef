package netns

import (
	"fmt"
	"strings"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
)

type listedFlow struct {
	Endpoint, Protocol, Local, Remote, State, Origin, Group, Rule string
	LocalPort, RemotePort                                         int
}

// Flows are listed with their state and rule; forgotten ones are judged anew; and
// drops are seen as they happen.
//
//	edge-1: web 10.0.0.2     edge-2: db 10.0.0.3 (group db)
func TestFlowsAndDropsAreSeen(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("edge-1", "edge-2")
	edge1, edge2 := hosts[0], hosts[1]
	edge1.VPC("blue", "10.0.0.0/24")
	edge1.Group("blue", "db", "ingress tcp 5432 from any")
	web := edge1.Container("web")
	db := edge2.Container("db").Serves("tcp/5432", "tcp/22")
	web.Attach("blue", "10.0.0.2")
	db.Attach("blue", "10.0.0.3", "db")
	stream := web.Streams(db, "tcp/5432")
	stream.Runs()

	list := func(host *lab.Host, args ...string) []listedFlow {
		var flows []listedFlow
		host.CtlJSON(&flows, append([]string{"flow", "list", "--vpc", "blue", "--proto", "tcp", "--port", "5432"}, args...)...)
		return flows
	}
	l.Await("both hosts list the flow", func() error {
		at1, at2 := list(edge1, "--endpoint", "web"), list(edge2, "--remote", "10.0.0.2", "--state", "tcp-established")
		if len(at1) != 1 || at1[0].RemotePort != 5432 || at1[0].Origin != "egress" || len(at2) != 1 || at2[0].LocalPort != 5432 || at2[0].Group != "db" {
			return fmt.Errorf("edge-1 has %+v, edge-2 has %+v", at1, at2)
		}
		return nil
	})
	if other := list(edge2, "--remote", "10.0.0.9"); len(other) > 0 {
		t.Errorf("of another remote there is %+v", other)
	}

	// A flow that was forgotten is judged by the rules, which permit it.
	if said := edge2.MustCtl("flow", "flush", "--vpc", "blue", "--proto", "tcp", "--port", "5432"); !strings.HasPrefix(said, "1 flow ") {
		t.Errorf("flush says %q", said)
	}
	stream.Runs()
	if got := edge2.Ctl("flow", "flush"); got.Code != 2 || !strings.Contains(got.Stderr, "--all") {
		t.Errorf("flush of nothing in particular gives %+v", got)
	}
	stream.Stop()

	// The watch has begun before the packet comes.
	seen := make(chan lab.Result, 1)
	go func() {
		seen <- edge2.Ctl("drops", "watch", "--vpc", "blue", "--endpoint", "db", "--reason", "no-ingress-rule", "--count", "1", "-o", "json")
	}()
	var got lab.Result
	l.Await("the drop is seen", func() error {
		web.Try(db.IP, "tcp/22")
		select {
		case got = <-seen:
			return nil
		default:
			return fmt.Errorf("nothing was seen yet")
		}
	})
	if got.Code != 0 || !strings.Contains(got.Stdout, `"source":"10.0.0.2"`) || !strings.Contains(got.Stdout, `"port":22`) {
		t.Errorf("watching drops gives %+v", got)
	}
}
