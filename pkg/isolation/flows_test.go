package isolation

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func (b *bench) flows(filter FlowFilter) []Flow {
	b.t.Helper()
	var all []Flow
	for flow, err := range b.dp.Flows(b.t.Context(), filter) {
		if err != nil {
			b.t.Fatal(err)
		}
		all = append(all, flow)
	}
	return all
}

// someFlows are web's: TCP to far and from it, UDP to db (which db has too), and
// a ping.
func someFlows(t *testing.T) *bench {
	b := newBench(t)
	b.redirect(t, b.dp.fromEndpoint, tcp4(farAddr, 40000, 80, flagSYN))
	b.redirect(t, b.dp.fromTunnel, farTCP(50000, flagSYN))
	b.redirect(t, b.dp.fromEndpoint, udp4(dbAddr, 5353, 53))
	b.redirect(t, b.dp.fromEndpoint, echo4(farAddr, 8, 77))
	return b
}

func TestFlowsAreListed(t *testing.T) {
	b := someFlows(t)
	for name, c := range map[string]struct {
		filter FlowFilter
		want   int
	}{
		"all":              {FlowFilter{}, 5},
		"of a VPC":         {FlowFilter{VNI: testVNI}, 5},
		"of another VPC":   {FlowFilter{VNI: otherVNI}, 0},
		"of an endpoint":   {FlowFilter{VNI: testVNI, Endpoint: "db"}, 1},
		"of a protocol":    {FlowFilter{Protocol: unix.IPPROTO_TCP}, 2},
		"of a remote":      {FlowFilter{Remote: netip.PrefixFrom(farAddr, 32)}, 3},
		"of a local":       {FlowFilter{Local: netip.PrefixFrom(dbAddr, 32)}, 1},
		"to a remote port": {FlowFilter{RemotePort: 80}, 1},
		"to a local port":  {FlowFilter{LocalPort: 80}, 1},
		"in a state":       {FlowFilter{State: "icmp"}, 1},
		"in two ways":      {FlowFilter{Protocol: unix.IPPROTO_TCP, LocalPort: 53}, 0},
	} {
		if got := b.flows(c.filter); len(got) != c.want {
			t.Errorf("%s: %d flows, want %d: %v", name, len(got), c.want, got)
		}
	}
	got := b.flows(FlowFilter{State: "tcp-syn-sent", RemotePort: 80})
	if len(got) != 1 {
		t.Fatalf("%d flows", len(got))
	}
	flow := got[0]
	if flow.Age < 0 || flow.Age > time.Minute || flow.Remaining > time.Minute || flow.Remaining < time.Minute/2 {
		t.Errorf("age %v, remaining %v", flow.Age, flow.Remaining)
	}
	flow.Age, flow.Idle, flow.Remaining = 0, 0, 0
	want := Flow{
		Endpoint: webKey, Protocol: unix.IPPROTO_TCP, Local: netip.AddrPortFrom(webAddr, 40000),
		Remote: netip.AddrPortFrom(farAddr, 80), Origin: directionOf(edgenetDirectionEGRESS),
		State: "tcp-syn-sent", Judged: true,
	}
	if flow != want {
		t.Errorf("flow %+v, want %+v", flow, want)
	}
	b.rules(allowWeb, allowAll)
	if i := slices.IndexFunc(b.flows(FlowFilter{}), func(f Flow) bool { return f.Judged }); i >= 0 {
		t.Error("a flow counts as judged by rules that have not seen it")
	}
	b.age(time.Hour)
	if got := b.flows(FlowFilter{}); len(got) != 0 {
		t.Errorf("flows that have run out are listed: %v", got)
	}
}

func TestFlowsAreFlushed(t *testing.T) {
	b := someFlows(t)
	n, err := b.dp.FlushFlows(t.Context(), FlowFilter{VNI: testVNI, Endpoint: "web", Protocol: unix.IPPROTO_TCP})
	if err != nil || n != 2 {
		t.Fatalf("%d flows flushed, want 2: %v", n, err)
	}
	if got := b.flows(FlowFilter{}); len(got) != 3 {
		t.Errorf("%d flows are left, want 3: %v", len(got), got)
	}
	if n := b.dp.budgets.flows(0); n != 3 {
		t.Errorf("%d flows are counted, want 3", n)
	}
	b.rules(nothing, nothing)
	b.drop(t, b.dp.fromTunnel, farTCP(50000, flagACK), 0, "no-ingress-rule")
}

func TestTimeoutsAreConfigured(t *testing.T) {
	b := newBench(t)
	b.close()
	b.cfg.FlowTimeouts = map[FlowState]time.Duration{"udp-unreplied": 5 * time.Second}
	b.open()
	b.refill()
	b.rules(nothing, allowAll)
	b.redirect(t, b.dp.fromEndpoint, udp4(farAddr, 1, 2))
	b.age(4 * time.Second)
	if got := b.flows(FlowFilter{}); len(got) != 1 || got[0].Remaining > time.Second {
		t.Errorf("flows %v", got)
	}
	b.age(2 * time.Second)
	b.drop(t, b.dp.fromTunnel, udpAnswer(b), 0, "no-ingress-rule")

	for _, wrong := range []map[FlowState]time.Duration{
		{"udp-unreplied": time.Second}, {"tcp-established": 365 * 24 * time.Hour}, {"tcp-listen": time.Minute}, {"none": time.Minute},
	} {
		cfg := b.cfg
		cfg.FlowTimeouts = wrong
		if _, err := Open(t.Context(), cfg); err == nil {
			t.Errorf("%v was taken", wrong)
		}
	}
}
