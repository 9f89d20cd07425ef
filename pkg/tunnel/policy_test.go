package tunnel_test

import (
	"fmt"
	"strings"
	"testing"

	"edgenet.dev/edgenet/pkg/tunnel"
)

func TestSelectorsHaveOneForm(t *testing.T) {
	for text, want := range map[string]string{
		"any": "any", "cloud-edge": "cloud-edge", "edge-cloud": "cloud-edge", "edge-edge": "edge-edge",
		"node:b,node:a": "node:a,node:b", "node:edge-2,node:edge-10": "node:edge-10,node:edge-2",
	} {
		s, err := tunnel.ParseSelector(text)
		if err != nil || s.String() != want {
			t.Errorf("%q: got %s, %v, want %s", text, s, err, want)
		}
	}
	for _, text := range []string{
		"", "edge", "-", "edge-", "-edge", "Edge-cloud", "cloud-edge-relay", "node:", "node:a", "node:a,b", "a,node:b", "node:a,node:a",
		"node:a,node:b,node:c", "node:A,node:b", "node:a, node:b", "node:" + strings.Repeat("a", 64) + ",node:b", "any ", "any-any\x00",
	} {
		if s, err := tunnel.ParseSelector(text); err == nil {
			t.Errorf("%q is taken for %s", text, s)
		}
	}
}

func TestPoliciesAreChecked(t *testing.T) {
	many := make([]tunnel.Rule, 0, tunnel.MaxRules+1)
	for i := range tunnel.MaxRules + 1 {
		s, err := tunnel.ParseSelector(fmt.Sprintf("node:a,node:b%d", i))
		if err != nil {
			t.Fatal(err)
		}
		many = append(many, tunnel.Rule{Between: s, Technology: tunnel.IPsec})
	}
	if _, err := tunnel.NewPolicy(many[1:]); err != nil {
		t.Errorf("%d rules: %v", tunnel.MaxRules, err)
	}
	for want, rules := range map[string][]tunnel.Rule{
		"1025 rules: at most 1024":  many,
		"two rules for any":         {{Technology: tunnel.IPsec}, {Technology: tunnel.WireGuard}},
		"rule without a technology": {{}},
	} {
		if _, err := tunnel.NewPolicy(rules); err == nil || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := tunnel.ParseTechnology("IPsec"); err == nil {
		t.Error("a technology with capitals is taken")
	}
}

// A rule keeps its place when it is changed, and others theirs when it goes.
func TestRulesKeepTheirOrder(t *testing.T) {
	p := policyOf(t, "any=wireguard", "cloud-edge=ipsec", "node:c,node:d=ipsec", "authority-edge=ipsec", "node:b,node:a=ipsec")
	order := func(p tunnel.Policy) string {
		var words []string
		for _, r := range p.Rules() {
			words = append(words, r.String())
		}
		return strings.Join(words, "; ")
	}
	want := "node:a,node:b: ipsec; node:c,node:d: ipsec; cloud-edge: ipsec; authority-edge: ipsec; any: wireguard"
	if got := order(p); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	roles, err := tunnel.ParseSelector("edge-cloud")
	if err != nil {
		t.Fatal(err)
	}
	changed, err := p.With(tunnel.Rule{Between: roles, Technology: tunnel.WireGuard})
	if got := order(changed); err != nil || got != strings.Replace(want, "cloud-edge: ipsec", "cloud-edge: wireguard", 1) {
		t.Errorf("a changed rule: %s, %v", got, err)
	}
	less, there := changed.Without(roles)
	if got := order(less); !there || got != strings.Replace(want, "cloud-edge: ipsec; ", "", 1) {
		t.Errorf("without a rule: %s, %v", got, there)
	}
	if _, there := less.Without(roles); there {
		t.Error("a rule goes twice")
	}
	again, err := less.With(tunnel.Rule{Between: roles, Technology: tunnel.IPsec})
	if got := order(again); err != nil || !strings.Contains(got, "authority-edge: ipsec; cloud-edge: ipsec; any") {
		t.Errorf("a rule that comes again: %s, %v", got, err)
	}
	if got := order(p); got != want {
		t.Errorf("the policy was changed: %s", got)
	}
}

func FuzzParseSelector(f *testing.F) {
	for _, text := range []string{"any", "cloud-edge", "node:a,node:b", "node:a,", "-"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := tunnel.ParseSelector(text)
		if err != nil {
			return
		}
		again, err := tunnel.ParseSelector(s.String())
		if err != nil || again != s {
			t.Errorf("%q becomes %s, and that %s, %v", text, s, again, err)
		}
	})
}
