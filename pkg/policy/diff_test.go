package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// pair is a VPC of three endpoints, with rules of the group db now and then.
func pair(t testing.TB, now, then []string) VPC {
	t.Helper()
	return VPC{
		VNI:    7,
		Groups: []Group{{Name: "web"}, {Name: "db", Rules: rules(t, now...)}},
		Shadow: []Group{{Name: "web"}, {Name: "db", Rules: rules(t, then...)}},
		Hosts: []Host{
			{Name: "web-1", Addr: host("10.0.0.2").Addr, Groups: []string{"web"}},
			{Name: "db-1", Addr: host("10.0.0.3").Addr, Groups: []string{"db"}},
			{Name: "dev", Addr: host("10.0.0.4").Addr},
		},
	}
}

func diff(t testing.TB, v VPC, flows int) *Difference {
	t.Helper()
	d, err := v.Diff(flows)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// words is a difference as text, to be compared.
func (d *Difference) words() string {
	var b strings.Builder
	for i := range d.Rules {
		r := &d.Rules[i]
		fmt.Fprintf(&b, "%s %s: %s +%d -%d\n", r.Kind, r.Group, r.Rule(), r.Opened, r.Closed)
	}
	fmt.Fprintf(&b, "+%d -%d\n", d.Opened, d.Closed)
	for _, f := range d.Flows {
		fmt.Fprintf(&b, "%s to %s: %s-%d: %v, then %v\n", f.Source, f.Destination, f.Flow, f.LastPort, f.Before.Allowed, f.After.Allowed)
	}
	return b.String()
}

func TestDiffSaysWhatChanges(t *testing.T) {
	for _, tt := range []struct {
		name      string
		now, then []string
		want      string
	}{
		{"nothing", []string{"ingress tcp 80 from any"}, []string{"ingress tcp 80 from any"}, "+0 -0\n"},
		{
			"a port is opened to a group", nil,
			[]string{"ingress tcp 5432 from group:web"},
			"added db: ingress tcp 5432 from group:web +1 -0\n+1 -0\nweb-1 to db-1: tcp 10.0.0.2 -> 10.0.0.3 port 5432-5432: false, then true\n",
		},
		{
			"a range is narrowed",
			[]string{"ingress tcp 80-90 from group:web"},
			[]string{"ingress tcp 85-90 from group:web"},
			"removed db: ingress tcp 80-90 from group:web +0 -1\nadded db: ingress tcp 85-90 from group:web +0 -0\n+0 -1\n" +
				"web-1 to db-1: tcp 10.0.0.2 -> 10.0.0.3 port 80-84: true, then false\n",
		},
		{
			"a denial comes between",
			[]string{"ingress tcp from any"},
			[]string{"ingress tcp from any", "ingress deny tcp 22 from 10.0.0.4"},
			"added db: ingress deny tcp 22 from 10.0.0.4/32 +0 -1\n+0 -1\ndev to db-1: tcp 10.0.0.4 -> 10.0.0.3 port 22-22: true, then false\n",
		},
		{
			"a rule that does not matter",
			[]string{"ingress tcp from any"},
			[]string{"ingress tcp from any", "ingress tcp 22 from any"},
			"added db: ingress tcp 22 from any +0 -0\n+0 -0\n",
		},
		{
			"a rule is disabled",
			[]string{"ingress icmp 8 from group:web"},
			[]string{"#ingress icmp 8 from group:web"},
			"changed db: ingress icmp 8 from group:web +0 -1\n+0 -1\nweb-1 to db-1: icmp 10.0.0.2 -> 10.0.0.3 type 8 code 0-2303: true, then false\n",
		},
		{
			"a protocol without a name",
			[]string{"ingress any from group:web"},
			[]string{"ingress tcp from group:web", "ingress udp from group:web", "ingress sctp from group:web", "ingress icmp from group:web"},
			"removed db: ingress any from group:web +0 -1\nadded db: ingress sctp from group:web +0 -0\nadded db: ingress icmp from group:web +0 -0\n" +
				"added db: ingress udp from group:web +0 -0\nadded db: ingress tcp from group:web +0 -0\n+0 -1\n" +
				"web-1 to db-1: another protocol 10.0.0.2 -> 10.0.0.3-0: true, then false\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := diff(t, pair(t, tt.now, tt.then), 10).words(); sortLines(got) != sortLines(tt.want) {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
		})
	}
}

func sortLines(s string) string {
	lines := strings.Split(s, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// Removing all groups closes what they allowed, and opens what they kept in.
func TestDiffOfNoGroups(t *testing.T) {
	v := pair(t, []string{"ingress tcp 80 from any", "egress udp 53 to any"}, nil)
	v.Groups[0].Rules = rules(t, "ingress tcp 22 from any")
	v.Shadow = nil
	d := diff(t, v, 10)
	if len(d.Rules) != 3 || d.Closed != 3 || d.Opened != 0 {
		t.Errorf("got\n%s", d.words())
	}
}

// What Diff counts and shows is what asking about every flow gives.
func TestDiffIsExact(t *testing.T) {
	w := world{rand.New(rand.NewPCG(8, 9))}
	shown := 0
	for range 150 {
		v := w.vpc()
		for v.Shadow == nil {
			v = w.vpc()
		}
		d := diff(t, v, 1000)
		for _, f := range d.Flows {
			shown++
			for _, port := range []uint16{f.Flow.Port, f.LastPort} {
				flow := f.Flow
				flow.Port = port
				before, after := naive(v, flow), naive(v.Candidate(), flow)
				if before == after || before != f.Before.Allowed || after != f.After.Allowed {
					t.Fatalf("%s: shown as %v then %v; the rules mean %v then %v", flow, f.Before, f.After, before, after)
				}
			}
		}
		// Whoever looks at random finds only what was counted.
		for range 300 {
			f := w.flow(v)
			before, after := naive(v, f), naive(v.Candidate(), f)
			if f.Source != f.Destination && before != after && (after && d.Opened == 0 || before && d.Closed == 0) && !sameEndpoint(v, f) && ofOneFamily(f) {
				t.Fatalf("%s: %v then %v, and not counted", f, before, after)
			}
		}
	}
	if shown < 500 {
		t.Errorf("only %d flows were shown", shown)
	}
}

// sameEndpoint tells whether both ends are parts of one prefix.
func sameEndpoint(v VPC, f Flow) bool {
	c, err := Compile(v)
	if err != nil {
		return true
	}
	a, _ := c.locate(f.Source)
	b, _ := c.locate(f.Destination)
	return a == b || a.Bits() < a.Addr().BitLen() && b.Bits() < b.Addr().BitLen()
}

// ofOneFamily tells whether a packet can be so.
func ofOneFamily(f Flow) bool {
	if f.Source.Is4() != f.Destination.Is4() {
		return false
	}
	return f.Protocol != protoICMP && f.Protocol != protoICMPv6 || f.Source.Is6() == (f.Protocol == protoICMPv6)
}

func BenchmarkDiff(b *testing.B) {
	v := bounds(5_000)
	v.Shadow = slices.Clone(v.Groups)
	v.Shadow[17].Rules = slices.Clone(v.Shadow[17].Rules)
	v.Shadow[17].Rules[0].Ports = []PortRange{{7, 7}}
	b.Run("one rule", func(b *testing.B) {
		processorTime(b)
		for b.Loop() {
			diff(b, v, 20)
		}
	})
	v.Shadow = []Group{}
	b.Run("all rules", func(b *testing.B) {
		processorTime(b)
		for b.Loop() {
			diff(b, v, 20)
		}
	})
}
