package isolation

import (
	"testing"

	"edgenet.dev/edgenet/pkg/policy"
)

// The candidate of the tests: TCP 81 in place of allowWeb's 80, by rules that
// have names.
const candidate policy.ID = 0xca4d

var (
	liveRule      = policy.RuleRef{Group: "web", ID: "aaaaaaaaaaaa"}
	candidateRule = policy.RuleRef{Group: "web", ID: "bbbbbbbbbbbb"}
)

func ruledTable(ref policy.RuleRef, port uint16) *policy.Table {
	return &policy.Table{
		Rules:    []policy.RuleRef{{}, ref},
		Verdicts: map[policy.Match][]policy.Interval{{Identity: someone, Protocol: 6}: {{First: port, Last: port, Rule: 1}}},
	}
}

// shadowed is web with a rule in force and a candidate beside it.
func shadowed(t *testing.T) *bench {
	b := newBench(t)
	b.alone()
	b.state.Policies[allowWeb] = ruledTable(liveRule, 80)
	b.state.Policies[candidate] = ruledTable(candidateRule, 81)
	b.set(webKey, func(e *Endpoint) {
		e.Ingress, e.ShadowIngress, e.Egress = allowWeb, candidate, allowAll
	})
	b.refill()
	return b
}

func (b *bench) wantHits(ref policy.RuleRef, want Hits) {
	b.t.Helper()
	all, err := b.dp.RuleHits(b.t.Context(), testVNI)
	if err != nil {
		b.t.Fatal(err)
	}
	rule := Rule{VNI: testVNI, Group: ref.Group, ID: ref.ID}
	if got, ok := all[rule]; !ok || got != want {
		b.t.Errorf("rule %v: %+v, want %+v", rule, all, want)
	}
}

func TestACandidateOnlyCounts(t *testing.T) {
	b := shadowed(t)
	w := b.watch(t.Context(), EventShadow)
	b.redirect(t, b.dp.fromTunnel, farTCP(1, flagSYN))
	e := w.next(t)
	if rule, _ := b.dp.RuleOf(e.Rule); !e.Allowed || e.ShadowAllowed || rule.ID != liveRule.ID || e.Shadow != 0 || e.SourcePort != 1 {
		t.Errorf("event %+v", e)
	}
	b.drop(t, b.dp.fromTunnel, fromFar(6, tcpSegment(2, 81, flagSYN, "")), 0, "no-ingress-rule")
	e = w.next(t)
	if rule, _ := b.dp.RuleOf(e.Shadow); e.Allowed || !e.ShadowAllowed || rule.ID != candidateRule.ID || e.Rule != 0 {
		t.Errorf("event %+v", e)
	}
	b.drop(t, b.dp.fromTunnel, fromFar(6, tcpSegment(3, 82, flagSYN, "")), 0, "no-ingress-rule")
	// What runs is not asked about again.
	for range 5 {
		b.redirect(t, b.dp.fromTunnel, farTCP(1, flagACK))
	}
	c := in(b.space, func() (Counters, error) { return b.dp.counters(b.dp.tables.endpoints.have[1].Slot) })
	if c.ShadowDrops != 1 || c.ShadowAllows != 1 || c.Flows != 1 {
		t.Errorf("counters %+v", c)
	}
	b.wantHits(liveRule, Hits{Flows: 1, ShadowDrops: 1})
	b.wantHits(candidateRule, Hits{ShadowAllows: 1})
	got := b.trace(Probe{VNI: testVNI, Source: farAddr, Destination: webAddr, Protocol: 6, SourcePort: 9, DestinationPort: 80, Node: nodeB})
	if side := got.Ingress; side == nil || !side.Allowed || side.ShadowAllowed {
		t.Errorf("trace %+v, ingress %+v", got, got.Ingress)
	}
	// With the candidate dropped, nothing is counted for it.
	b.set(webKey, func(e *Endpoint) { e.ShadowIngress = nothing })
	b.refill()
	b.redirect(t, b.dp.fromTunnel, farTCP(4, flagSYN))
	b.wantHits(liveRule, Hits{Flows: 2, ShadowDrops: 1})
}

// A flow that runs is asked about when a candidate appears, by whichever packet
// comes first: that is how one sees what it would cut. It is shown as it began.
func TestACandidateIsAskedAboutWhatRuns(t *testing.T) {
	b := shadowed(t)
	b.set(webKey, func(e *Endpoint) { e.ShadowIngress = nothing })
	b.refill()
	b.redirect(t, b.dp.fromTunnel, farTCP(1, flagSYN))
	b.set(webKey, func(e *Endpoint) { e.ShadowIngress = candidate })
	b.refill()
	w := b.watch(t.Context(), EventShadow)
	b.redirect(t, b.dp.fromEndpoint, webTCP(1, flagSYN|flagACK))
	want := Event{Source: farAddr, Destination: webAddr, SourcePort: 1, DestinationPort: 80, Direction: policy.Ingress}
	if e := w.next(t); e.Source != want.Source || e.Destination != want.Destination || e.SourcePort != want.SourcePort ||
		e.DestinationPort != want.DestinationPort || e.Direction != want.Direction {
		t.Errorf("event %+v, want %+v", e, want)
	}
	for range 3 {
		b.redirect(t, b.dp.fromTunnel, farTCP(1, flagACK))
	}
	b.wantHits(liveRule, Hits{Flows: 1, ShadowDrops: 1})
}
