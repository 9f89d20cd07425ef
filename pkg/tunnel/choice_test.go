package tunnel_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"edgenet.dev/edgenet/pkg/tunnel"
)

func end(node, roles string, drivers ...string) tunnel.End {
	return tunnel.End{Node: node, Roles: strings.Split(roles, ","), Drivers: drivers}
}

func policyOf(t testing.TB, texts ...string) tunnel.Policy {
	t.Helper()
	var rules []tunnel.Rule
	for _, text := range texts {
		between, technology, _ := strings.Cut(text, "=")
		s, err := tunnel.ParseSelector(between)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, tunnel.Rule{Between: s, Technology: tunnel.Technology(technology)})
	}
	p, err := tunnel.NewPolicy(rules)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const (
	wgK, wgU = tunnel.WireGuardKernel, tunnel.WireGuardUserspace
	ipK, ipU = tunnel.IPsecKernel, tunnel.IPsecUserspace
)

func TestTheFastestThatBothHave(t *testing.T) {
	for _, c := range []struct {
		a, b          []string
		local, remote string
		why           string
	}{
		{[]string{wgK, ipK}, []string{ipU, ipK, wgK}, wgK, wgK, "the fastest that both have: WireGuard in both kernels"},
		{[]string{wgU, ipK}, []string{wgK, ipK}, ipK, ipK, "the fastest that both have: IPsec in both kernels"},
		{[]string{wgU, ipK}, []string{wgK, ipU}, wgU, wgK, "the fastest that both have: WireGuard, in userspace on a"},
		{[]string{wgU, ipU}, []string{wgU, ipU}, wgU, wgU, "the fastest that both have: WireGuard, in userspace on a and b"},
		{[]string{wgK, ipK}, []string{ipU}, ipK, ipU, "the fastest that both have: IPsec, in userspace on b"},
		{[]string{ipU}, []string{ipU, "quic"}, ipU, ipU, "the fastest that both have: IPsec, in userspace on a and b"},
		{[]string{wgK}, []string{ipK}, "", "", "nothing in common: node a has wireguard, node b has ipsec"},
		{[]string{wgK}, nil, "", "", "node b has no way to encrypt"},
		{[]string{"quic"}, []string{"quic"}, "", "", "node a has no way to encrypt"},
	} {
		got, err := tunnel.Choose(end("a", "edge", c.a...), end("b", "edge", c.b...), tunnel.Policy{})
		why := got.Why
		if err != nil {
			why = err.Error()
		}
		if got.Local != c.local || got.Remote != c.remote || why != c.why || (err == nil) == (c.local == "") {
			t.Errorf("%v and %v: got %+v, %v, want %s, %s, %q", c.a, c.b, got, err, c.local, c.remote, c.why)
		}
	}
}

// Where the driver of a technology is being replaced, another one serves meanwhile, if
// there is one and the policy does not say otherwise.
func TestWhatIsBeingReplacedIsTheLast(t *testing.T) {
	const replaced = "; the driver of wireguard is being replaced on a"
	for _, c := range []struct {
		name   string
		a, b   []string
		policy []string
		want   tunnel.Technology
		why    string
	}{
		{"both have another", []string{wgU, ipU}, []string{wgK, ipU}, nil, tunnel.IPsec, "the fastest that both have: IPsec, in userspace on a and b" + replaced},
		{"one has not", []string{wgU, ipU}, []string{wgK}, nil, tunnel.WireGuard, "the fastest that both have: WireGuard, in userspace on a"},
		{"the policy has it", []string{wgU, ipU}, []string{wgK, ipU}, []string{"any=wireguard"}, tunnel.WireGuard, "tunnel policy any: wireguard"},
		{"it is not what they would have", []string{wgU, ipK}, []string{wgU, ipK}, nil, tunnel.IPsec, "the fastest that both have: IPsec in both kernels"},
	} {
		a, b := end("a", "edge", c.a...), end("b", "edge", c.b...)
		a.Leaving = tunnel.WireGuard
		for _, ends := range [][2]tunnel.End{{a, b}, {b, a}} {
			got, err := tunnel.Choose(ends[0], ends[1], policyOf(t, c.policy...))
			if err != nil || got.Technology != c.want || got.Why != c.why {
				t.Errorf("%s: got %+v, %v, want %s, %q", c.name, got, err, c.want, c.why)
			}
		}
	}
}

func TestAPolicyDecides(t *testing.T) {
	all := []string{wgK, wgU, ipK, ipU}
	cloud, edge := end("cloud-1", "authority,cloud", all...), end("edge-1", "edge", all...)
	for _, c := range []struct {
		name   string
		a, b   tunnel.End
		policy []string
		want   tunnel.Technology // empty: no tunnel
		why    string
	}{
		{"any", cloud, edge, []string{"any=ipsec"}, tunnel.IPsec, "tunnel policy any: ipsec"},
		{"roles before any", cloud, edge, []string{"any=wireguard", "edge-cloud=ipsec"}, tunnel.IPsec, "tunnel policy cloud-edge: ipsec"},
		{
			"nodes before roles", cloud, edge,
			[]string{"any=ipsec", "cloud-edge=ipsec", "node:edge-1,node:cloud-1=wireguard"},
			tunnel.WireGuard, "tunnel policy node:cloud-1,node:edge-1: wireguard",
		},
		{"of two by roles the first", cloud, edge, []string{"edge-authority=wireguard", "cloud-edge=ipsec"}, tunnel.WireGuard, "tunnel policy authority-edge: wireguard"},
		{"of two by roles the first again", cloud, edge, []string{"cloud-edge=ipsec", "authority-edge=wireguard"}, tunnel.IPsec, "tunnel policy cloud-edge: ipsec"},
		{"one node's two roles are no pair", cloud, edge, []string{"authority-cloud=ipsec"}, tunnel.WireGuard, "the fastest that both have: WireGuard in both kernels"},
		{"two of one role", edge, end("edge-2", "edge", wgK, ipU), []string{"edge-edge=ipsec"}, tunnel.IPsec, "tunnel policy edge-edge: ipsec"},
		{"other nodes", cloud, edge, []string{"node:edge-1,node:edge-2=ipsec"}, tunnel.WireGuard, "the fastest that both have: WireGuard in both kernels"},
		{"one lacks it", cloud, end("edge-2", "edge", wgK), []string{"cloud-edge=ipsec"}, "", "tunnel policy cloud-edge: ipsec: not possible on edge-2"},
		{"both lack it", end("z", "edge", wgK), end("b", "edge"), []string{"any=ipsec"}, "", "tunnel policy any: ipsec: not possible on b and z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := tunnel.Choose(c.a, c.b, policyOf(t, c.policy...))
			why := got.Why
			if err != nil {
				why = err.Error()
			}
			if got.Technology != c.want || why != c.why {
				t.Errorf("got %+v, %v, want %s, %q", got, err, c.want, c.why)
			}
		})
	}
}

// What both ends know is the same, and so is what they choose; and no choice is
// one that an end does not run, or that a policy does not have.
func TestBothEndsChooseAlike(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	roles, drivers := []string{"authority", "cloud", "edge", "relay"}, []string{wgK, wgU, ipK, ipU, "quic"}
	some := func(of []string) []string {
		return slices.DeleteFunc(slices.Clone(of), func(string) bool { return r.IntN(2) == 0 })
	}
	selectors := []string{"any", "node:a,node:b", "node:b,node:c"}
	for i, a := range roles {
		for _, b := range roles[i:] {
			selectors = append(selectors, a+"-"+b)
		}
	}
	chosen, refused := 0, 0
	for range 20_000 {
		a, b := end("a", "", some(drivers)...), end("b", "", some(drivers)...)
		a.Roles, b.Roles = some(roles), some(roles)
		leaving := []tunnel.Technology{"", tunnel.WireGuard, tunnel.IPsec}
		a.Leaving, b.Leaving = leaving[r.IntN(3)], leaving[r.IntN(3)]
		var rules []string
		for _, i := range r.Perm(len(selectors))[:r.IntN(4)] {
			rules = append(rules, selectors[i]+"="+[]string{"wireguard", "ipsec"}[r.IntN(2)])
		}
		p := policyOf(t, rules...)
		here, errHere := tunnel.Choose(a, b, p)
		there, errThere := tunnel.Choose(b, a, p)
		if (errHere == nil) != (errThere == nil) || errHere != nil && errHere.Error() != errThere.Error() {
			t.Fatalf("%v, %v, %v: one end says %v, the other %v", a, b, rules, errHere, errThere)
		}
		if errHere != nil {
			refused++
			continue
		}
		chosen++
		there.Local, there.Remote = there.Remote, there.Local
		if here != there || !slices.Contains(a.Drivers, here.Local) || !slices.Contains(b.Drivers, here.Remote) {
			t.Fatalf("%v, %v, %v: one end chooses %+v, the other %+v", a, b, rules, here, there)
		}
		if rule, ok := p.Find(a, b); ok && rule.Technology != here.Technology {
			t.Fatalf("%v, %v: %+v is not what %s says", a, b, here, rule)
		}
	}
	if chosen < 1000 || refused < 1000 {
		t.Errorf("%d chosen, %d refused: too few to tell", chosen, refused)
	}
}
