package policy

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestNumbersFollowContentOnly(t *testing.T) {
	web := Group{Name: "web", Rules: []Rule{rule(t, "ingress", "tcp", "80", "any"), rule(t, "ingress", "udp", "53", "10.0.0.0/24")}}
	db := Group{Name: "db", Rules: []Rule{rule(t, "ingress", "tcp", "5432", "group:web")}}
	hosts := []Host{host("10.0.0.2", "web"), host("10.0.0.3", "db"), host("10.0.0.4", "web", "db")}
	base := VPC{VNI: 9, Groups: []Group{web, db}, Hosts: hosts, Sets: setsOf(hosts)}

	// The same said in another order.
	turned := VPC{
		VNI:    9,
		Groups: []Group{db, {Name: "web", Rules: []Rule{web.Rules[1], web.Rules[0]}}},
		Hosts:  []Host{host("10.0.0.4", "db", "web", "db"), hosts[1], hosts[0]},
		Sets:   [][]string{{"db", "web", "web"}, {"db"}, {"web"}},
	}
	one, two := compile(t, base), compile(t, turned)
	for addr, id := range one.Identities {
		if two.Identities[addr] != id {
			t.Errorf("identity of %s is %x, in another order %x", addr, id, two.Identities[addr])
		}
	}
	for _, set := range base.Sets {
		for _, dir := range []Direction{Ingress, Egress} {
			if a, b := one.Policy(set, dir), two.Policy(set, dir); a != b || a == 0 {
				t.Errorf("%s policy of %v is %x, in another order %x", dir, set, a, b)
			}
		}
	}

	other := base
	other.VNI = 10
	three := compile(t, other)
	if one.Identities[hosts[0].Addr] == three.Identities[hosts[0].Addr] {
		t.Error("two VPCs share an identity")
	}
	for id := range three.Tables {
		if one.Tables[id] != nil {
			t.Errorf("two VPCs share the table %x", id)
		}
	}
	if one.Policy([]string{"never", "asked"}, Egress) != 0 {
		t.Error("a set that was not asked for has a table")
	}
}

// Known values: a change here means that a new version numbers things
// otherwise than a running one, and replaces every table when it starts.
func TestNumbersStayTheSameOverReleases(t *testing.T) {
	r := rule(t, "ingress", "tcp", "80,8000-8100", "group:web")
	v := VPC{
		VNI:    4711,
		Groups: []Group{{Name: "web", Rules: []Rule{r, rule(t, "egress", "any", "", "10.0.0.0/8")}}},
		Hosts:  []Host{host("10.0.0.2", "web")},
		Sets:   [][]string{{"web"}},
	}
	c := compile(t, v)
	got := fmt.Sprintf("%s %x %x %x", r.ID(), uint64(c.Identities[v.Hosts[0].Addr]),
		uint64(c.Policy([]string{"web"}, Ingress)), uint64(c.Policy([]string{"web"}, Egress)))
	const want = "ed85265da606 4680e522e2d6c654 2d699187ce4ddb15 36a61ac52eb5ae7c"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Somebody who may choose the groups of many hosts can look for two sets of the
// same number. That must not stop the VPC.
func TestIdentitiesOfOneNumberStayApart(t *testing.T) {
	sels := &selectors{groups: map[string]*selector{"web": {id: 1, group: "web"}, "db": {id: 2, group: "db"}}}
	all := &selector{id: 3, cidr: netip.MustParsePrefix("0.0.0.0/0")}
	web := newHostIndex(9).identify([]string{"web"}, all, sels, 1)

	x := newHostIndex(9)
	x.taken[web.id], x.taken[web.id+2] = true, true
	again := x.identify([]string{"web"}, all, sels, 1)
	if again.id != web.id+4 || again.id.Rest() != web.id.Rest() {
		t.Errorf("got the number %x, want %x", uint64(again.id), uint64(web.id+4))
	}
	if other := x.identify([]string{"web"}, all, sels, 2); other != again {
		t.Error("the same identity was made twice")
	}
	if db := x.identify([]string{"db"}, all, sels, 2); db.id == again.id {
		t.Error("two identities have one number")
	}
}
