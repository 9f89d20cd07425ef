package netns

import (
	"fmt"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
)

// shadowed is what programs read of edgenetctl group shadow show.
type shadowed struct {
	Rules []struct {
		Group                       string
		Candidate                   bool
		Hits, WouldAllow, WouldDrop int
	}
	Endpoints []struct {
		Endpoint, Node        string
		WouldAllow, WouldDrop int
	}
	Samples []struct{ Endpoint, Source, Destination, Effect, Rule string }
	Nodes   []string
	Missing map[string]string
}

// Candidate rules that would cut a running flow cut nothing: they count, and show
// the flow, on the host where it is judged. Promoted, they cut it, and no other.
//
//	edge-1: web 10.0.0.2, dev 10.0.0.3     edge-2: db 10.0.0.4 (group db)
func TestACandidateOnlyCountsUntilItIsPromoted(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("cloud-1", "edge-1", "edge-2")
	cloud, edge1, edge2 := hosts[0], hosts[1], hosts[2]
	cloud.VPC("blue", "10.0.0.0/24")
	cloud.Group("blue", "db", "ingress tcp 5432,5433 from any")
	web, dev := edge1.Container("web"), edge1.Container("dev")
	db := edge2.Container("db").Serves("tcp/5432", "tcp/5433", "http/80")
	web.Attach("blue", "10.0.0.2")
	dev.Attach("blue", "10.0.0.3")
	db.Attach("blue", "10.0.0.4", "db")
	flow, other := web.Streams(db, "tcp/5432"), dev.Streams(db, "tcp/5433")
	flow.Runs()
	other.Runs()

	const candidate = `[{direction: ingress, protocol: tcp, ports: ["5432-5433"], peer: 10.0.0.3},
		{direction: ingress, protocol: tcp, ports: [80], peer: any}]`
	if got := edge1.CtlWithInput(candidate, "group", "shadow", "apply", "db", "--vpc", "blue", "-f", "-"); got.Code != 0 {
		t.Fatalf("apply: %+v", got)
	}
	l.Await("the running flow is counted as one that would be dropped", func() error {
		return counts(edge1, func(s shadowed) bool {
			return len(s.Endpoints) == 1 && s.Endpoints[0].Endpoint == "db" && s.Endpoints[0].Node == "edge-2" &&
				s.Endpoints[0].WouldDrop > 0 && len(s.Samples) > 0 && s.Samples[0].Source == "10.0.0.2" && s.Samples[0].Effect == "would-drop"
		})
	})
	flow.Runs()
	other.Runs()
	// What would be let in is dropped as before, and counted.
	dev.Blocked(db, "http/80")
	l.Await("what would be allowed is counted", func() error {
		return counts(cloud, func(s shadowed) bool { return len(s.Endpoints) == 1 && s.Endpoints[0].WouldAllow > 0 })
	})
	flow.Runs()

	edge2.MustCtl("group", "shadow", "promote", "--vpc", "blue")
	flow.Stalls()
	other.Runs()
	dev.Reaches(db, "http/80")
	edge1.CtlFails([]string{"no candidate"}, "group", "shadow", "show", "--vpc", "blue")
	flow.Stop()
	other.Stop()
}

// counts returns an error unless what the host shows of blue's candidate is as
// wanted.
func counts(host *lab.Host, want func(shadowed) bool) error {
	var got shadowed
	host.CtlJSON(&got, "group", "shadow", "show", "--vpc", "blue")
	if len(got.Missing) > 0 || len(got.Nodes) != 2 || !want(got) {
		return fmt.Errorf("%s shows %+v", host.Name, got)
	}
	return nil
}
