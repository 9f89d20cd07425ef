package netns

import (
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
)

// Of the rules that match, the one of the lowest priority decides, and a denial
// among equals; exceptions and ICMP types are heeded, on two hosts as on one.
//
//	edge-1: web 10.0.0.2, dev 10.0.0.3     edge-2: db 10.0.0.4, near 10.0.0.5
func TestDenialsPrioritiesAndExceptions(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("edge-1", "edge-2")
	edge1, edge2 := hosts[0], hosts[1]
	edge1.VPC("blue", "10.0.0.0/24")
	edge1.Group("blue", "db", "ingress any - from any")
	web, dev := edge1.Container("web"), edge1.Container("dev")
	db, near := edge2.Container("db").Serves("http/80", "udp/53", "tcp/5432"), edge2.Container("near")
	web.Attach("blue", "10.0.0.2")
	dev.Attach("blue", "10.0.0.3")
	db.Attach("blue", "10.0.0.4", "db")
	near.Attach("blue", "10.0.0.5")
	web.Reaches(db, "http/80", "icmp")

	// A denial among equals decides, but not on what it excepts.
	edge2.AddRule("blue", "db", "ingress tcp 80 from 10.0.0.0/29 --action deny --except 10.0.0.3")
	web.Blocked(db, "http/80")
	near.Blocked(db, "http/80")
	dev.Reaches(db, "http/80")
	web.Reaches(db, "tcp/5432", "udp/53", "icmp")

	// A running flow is cut by a denial, and no other; a lower number decides.
	flow, other := web.Streams(db, "tcp/5432"), dev.Streams(db, "tcp/5432")
	flow.Runs()
	edge1.AddRule("blue", "db", "ingress any - from 10.0.0.2 --action deny --priority 10")
	flow.Stalls()
	other.Runs()
	edge1.AddRule("blue", "db", "ingress udp 53 from 10.0.0.2 --priority 9")
	web.Reaches(db, "udp/53")
	web.Blocked(db, "icmp", "tcp/5432")

	// Disabled, a rule does not count; enabled again, it does.
	id := ruleID(t, edge1, "db", 10)
	edge1.MustCtl("group", "rule", "disable", "db", "--vpc", "blue", "--id", id)
	web.Reaches(db, "tcp/5432", "icmp")
	edge1.MustCtl("group", "rule", "enable", "db", "--vpc", "blue", "--id", id)
	web.Blocked(db, "tcp/5432", "icmp")
	edge2.MustCtl("group", "rule", "remove", "db", "--vpc", "blue", "--id", id)

	// Echo requests are of type 8.
	edge2.AddRule("blue", "db", "ingress icmp - from any --icmp-type 8 --action deny --priority 1")
	web.Blocked(db, "icmp")
	near.Blocked(db, "icmp")
	web.Reaches(db, "tcp/5432")
	db.Blocked(web, "icmp") // by web's own group
	edge1.AddRule("blue", "default", "ingress icmp - from any --icmp-type 8 --icmp-code 0")
	db.Reaches(web, "icmp") // its answers are of type 0
	flow.Stop()
	other.Stop()
}

// ruleID is the id of the rule of a group of blue that has a priority.
func ruleID(t *testing.T, host *lab.Host, group string, priority int) string {
	t.Helper()
	var g struct {
		Rules []struct {
			ID       string
			Priority int
		}
	}
	host.CtlJSON(&g, "group", "show", group, "--vpc", "blue")
	for _, r := range g.Rules {
		if r.Priority == priority {
			return r.ID
		}
	}
	t.Fatalf("group %s has no rule of priority %d: %+v", group, priority, g)
	return ""
}

// Endpoints without groups carry the default group. One that carries another
// does not.
//
//	edge-1: web (default)     edge-2: db (default), cache (group cache)
func TestTheDefaultGroupIsForThoseWithout(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("edge-1", "edge-2")
	hosts[0].VPC("blue", "10.0.0.0/24")
	hosts[0].Group("blue", "cache")
	web := hosts[0].Container("web")
	db, cache := hosts[1].Container("db").Serves("http/80"), hosts[1].Container("cache").Serves("http/80")
	web.Attach("blue", "10.0.0.2")
	db.Attach("blue", "10.0.0.3")
	cache.Attach("blue", "10.0.0.4", "cache")
	web.Blocked(db, "http/80", "icmp")
	hosts[1].AddRule("blue", "default", "ingress tcp 80 from group:default")
	web.Reaches(db, "http/80")
	web.Blocked(db, "icmp")
	web.Blocked(cache, "http/80")
	hosts[0].CtlFails([]string{"default", "blue"}, "group", "delete", "default", "--vpc", "blue")
	hosts[0].RemoveRule("blue", "default", "ingress tcp 80 from group:default")
	web.Blocked(db, "http/80")
}

// The rules of a group are replaced while traffic runs that both sets allow:
// it notices nothing.
//
//	edge-1: web     edge-2: db
func TestReplacedRulesLoseNothingThatBothAllow(t *testing.T) {
	t.Parallel()
	l := lab.NewTimed(t)
	hosts := l.Mesh("edge-1", "edge-2")
	hosts[0].VPC("blue", "10.0.0.0/24")
	hosts[0].Group("blue", "web", "ingress icmp - from any")
	hosts[0].Group("blue", "db", "ingress icmp - from any", "ingress tcp 7 from group:web", "ingress tcp 80 from any")
	web, db := hosts[0].Container("web"), hosts[1].Container("db").Serves("http/80", "tcp/7", "tcp/5432")
	web.Attach("blue", "10.0.0.2", "web")
	db.Attach("blue", "10.0.0.3", "db")
	web.Reaches(db, "icmp", "http/80", "tcp/7")
	traffic := run(web, db)
	traffic.flow.Runs()
	const icmp = `{direction: ingress, protocol: icmp, peer: any}`
	sets := map[bool]string{
		true:  `[{name: web, rules: [` + icmp + `]}, {name: db, rules: [` + icmp + `, {direction: ingress, protocol: tcp, ports: ["1-5432"], peer: any}]}]`,
		false: `[{name: web, rules: [{direction: ingress, protocol: any, peer: 10.0.0.0/24}]}, {name: db, rules: [` + icmp + `, {direction: ingress, protocol: tcp, ports: ["7"], peer: "group:web"}]}]`,
	}
	for i := range 20 {
		result := hosts[i%2].CtlWithInput(sets[i%2 == 0], "group", "replace", "--vpc", "blue", "-f", "-")
		if result.Code != 0 {
			t.Fatalf("replace: %+v", result)
		}
	}
	web.Blocked(db, "http/80", "tcp/5432")
	traffic.noticedNothing(t, "rules replaced")
}

// Rules change while a daemon is down: the host keeps the old ones, and has the
// new ones in force soon after its start. Traffic that both allow notices neither.
//
//	edge-1: web, dev     edge-2: db, its daemon dead for a while
func TestRulesThatChangeWhileADaemonIsDownHoldAfterItsStart(t *testing.T) {
	t.Parallel()
	l := lab.NewTimed(t)
	hosts := l.Mesh("edge-1", "edge-2")
	hosts[0].VPC("blue", "10.0.0.0/24")
	hosts[0].Group("blue", "web", "ingress icmp - from any")
	hosts[0].Group("blue", "db", "ingress icmp - from any", "ingress tcp 7 from any", "ingress tcp 5432 from 10.0.0.3")
	web, dev := hosts[0].Container("web"), hosts[0].Container("dev")
	db := hosts[1].Container("db").Serves("tcp/7", "http/80", "tcp/5432")
	web.Attach("blue", "10.0.0.2", "web")
	dev.Attach("blue", "10.0.0.3")
	db.Attach("blue", "10.0.0.4", "db")
	web.Reaches(db, "icmp", "tcp/7")
	traffic, cut := run(web, db), dev.Streams(db, "tcp/5432")
	traffic.flow.Runs()
	cut.Runs()

	hosts[1].Kill()
	hosts[0].AddRule("blue", "db", "ingress tcp 80 from group:web")
	hosts[0].AddRule("blue", "db", "ingress any - from 10.0.0.3 --action deny --priority 1")
	web.Blocked(db, "http/80")
	cut.Runs() // the old rules are in force
	hosts[1].Start()
	web.Reaches(db, "http/80")
	cut.Stalls()
	dev.Blocked(db, "icmp", "tcp/7")
	traffic.noticedNothing(t, "edgenetd killed while rules change")
	cut.Stop()
}
