package netns

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"edgenet.dev/edgenet/test/netns/lab"
)

// cutWithin is how long an endpoint may be reached after its grant was deleted: a
// change is everywhere within a second, on a machine that has nothing else to do.
const cutWithin = 5 * time.Second

// Where grants are required a host attaches what it was granted. What is attached
// already goes on, without a packet lost, and what loses its grant is cut off.
//
//	edge-1: db 10.0.0.3     edge-2: web 10.0.0.9     edge-3: client 10.0.0.2, then web
func TestGrantsAreRequired(t *testing.T) {
	t.Parallel()
	l := lab.NewTimed(t)
	hosts := l.Mesh("edge-1", "edge-2", "edge-3")
	authority := hosts[0]
	authority.VPC("blue", "10.0.0.0/24")
	authority.Group("blue", "all", open)
	db := authority.Container("db").Serves("tcp/7")
	db.Attach("blue", "10.0.0.3", "all")
	client := hosts[2].Container("client")
	client.Attach("blue", "10.0.0.2", "all")
	client.Reaches(db, "icmp", "tcp/7")
	granted := client.Pings(db.IP)

	authority.CtlFails([]string{"would cut off 2 endpoints that have no grant", "grant-existing gives"}, "mesh", "set", "require-grants", "on")
	authority.MustCtl("mesh", "set", "require-grants", "on", "--grant-existing")
	for _, host := range hosts {
		l.Await(host.Name+" requires grants", func() error { return tells(host, "Require grants:  on\n", "mesh", "show") })
	}

	web := hosts[1].Container("web").Serves("http/80")
	asked := "edgenetctl grant create web --vpc blue --node edge-2 --ip 10.0.0.9 --group all"
	if got := web.TryAttach("blue", "10.0.0.9", "all"); got.Code != 1 || !strings.Contains(got.Stderr, "its node has no grant for it") || !strings.Contains(got.Stderr, asked) {
		t.Errorf("an attach without a grant: exit %d: %s", got.Code, got.Stderr)
	}
	if got := hosts[1].Ctl(strings.Fields(asked)[1:]...); got.Code != 1 || !strings.Contains(got.Stderr, "forward-from") {
		t.Errorf("a host grants itself an endpoint: exit %d: %s", got.Code, got.Stderr)
	}
	authority.MustCtl(strings.Fields(asked)[1:]...)
	web.Attach("blue", "10.0.0.9", "all")
	client.Reaches(web, "icmp", "http/80")

	lab.Note(t, lab.Figure{
		Promise: "an endpoint whose grant is deleted is cut off", Driver: "any", Bound: bound(cutWithin),
		Measured: cutBy(t, client.PingsEvery(web.IP, 20*time.Millisecond), func() {
			authority.MustCtl("grant", "delete", "web", "--vpc", "blue", "--node", "edge-2")
			client.BlockedAddr(web.IP, "icmp")
		}).Round(10 * time.Millisecond).String(),
	})
	for _, host := range hosts {
		l.Await(host.Name+" says that it failed", func() error { return endpointIs(host, "web", "edge-2", "failed") })
	}
	l.Await("edge-2 says why", func() error {
		return tells(hosts[1], "endpoint web of vpc blue is failed: is not granted: its node has no grant for it", "status")
	})
	l.Await("others name it", func() error {
		return tells(hosts[2], "node edge-2 claims without a grant what is in force nowhere: endpoint web of vpc blue", "status")
	})

	authority.MustCtl(strings.Fields(asked)[1:]...)
	client.Reaches(web, "icmp", "http/80")

	// The scheduler moves it: first the grant, then the attach, then the old grant goes.
	newer := hosts[2].Container("web").Serves("http/80")
	authority.MustCtl("grant", "create", "web", "--vpc", "blue", "--node", "edge-3", "--ip", "10.0.0.9", "--group", "all")
	newer.Attach("blue", "10.0.0.9", "all")
	db.Reaches(newer, "icmp", "http/80")
	l.Await("the older one is superseded", func() error { return endpointIs(hosts[1], "web", "edge-2", "superseded") })
	authority.MustCtl("grant", "delete", "web", "--vpc", "blue", "--node", "edge-2")
	db.Reaches(newer, "http/80")
	report := granted.Loses(0)
	t.Logf("of %d pings between endpoints that were attached before, %d were lost", report.Sent, len(report.Lost))
}

// tells returns an error unless a command's answer has a text.
func tells(host *lab.Host, text string, command ...string) error {
	if got := host.MustCtl(command...); !strings.Contains(got, text) {
		return fmt.Errorf("no %q in %q", text, got)
	}
	return nil
}

// cutBy is how long after something began the last ping was sent that was answered.
func cutBy(t *testing.T, ping *lab.Ping, something func()) time.Duration {
	t.Helper()
	began := time.Now()
	something()
	report := ping.Stop()
	if len(report.Lost) == 0 || report.Lost[len(report.Lost)-1] != report.Sent-1 {
		t.Errorf("not all of %d pings were lost from some time on", report.Sent)
		return 0
	}
	first := len(report.Lost) - 1
	for first > 0 && report.Lost[first-1] == report.Lost[first]-1 {
		first--
	}
	cut := report.Began.Add(report.LostAt[first]).Sub(began)
	if cut > lab.Slow(cutWithin) {
		t.Errorf("it was reached for %s; want at most %s", cut, cutWithin)
	}
	return cut
}
