package netns

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/test/netns/lab"
)

// lied is a mesh with a node that was taken over, of which the daemon is modified: it
// has all that the real one had, and lies. The others run what everybody runs.
//
//	cloud-1 (authority)  edge-1  edge-2        each: blue-N in blue, red-N in red, both 10.0.0.N+1
//	edge-1: decoy 10.0.0.9 in blue             taken: own 10.0.0.5 in blue
type lied struct {
	t      *testing.T
	l      *lab.Lab
	honest []*lab.Host
	taken  *lab.Host
	liar   *lab.Liar
	decoy  *lab.Container
	pings  []*lab.Ping
	// truth is what each honest host thinks before anybody lies, events how many it
	// has told by then.
	truth  map[*lab.Host]string
	events map[*lab.Host]int
	before map[*lab.Host]lab.Usage
	// vni is blue's, used a token that admitted a node.
	vni  uint32
	used string
}

// meshLie is a lie and the reasons for which every honest node must count it. With
// none it is one that nobody needs to refuse: it says nothing that is news, or nothing
// that is looked at.
type meshLie struct {
	lab.Lie
	reasons []string
	// by are the hosts that count it; nil is all that do not lie.
	by []*lab.Host
}

// A real node with a modified daemon tells every kind of lie to a live mesh. What is
// beyond its rights is believed by nobody, what is refused is counted, and the tenants
// of the others do not lose a packet meanwhile.
func TestALyingNodeIsNotBelieved(t *testing.T) {
	t.Parallel()
	m := meshWithALiar(t)
	m.tells(m.recordLies())
	m.claims()
	m.tells(m.lifeLies())
	m.tells(m.gossipLies())
	m.tells(m.peerLies())
	m.toldNothing()
	m.named()
	m.spreads()
	for _, ping := range m.pings {
		ping.Loses(0)
	}
	for _, host := range m.honest {
		used := host.Usage()
		lab.Note(t, lab.Figure{
			Promise: "a lying node costs " + host.Name, Driver: lab.Drivers,
			Measured: fmt.Sprintf("%s of processor time, %d MB at most", used.Processor-m.before[host].Processor, used.Peak>>20),
			Bound:    fmt.Sprintf("%d MB", peakMemory>>20),
		})
		if used.Peak > peakMemory {
			t.Errorf("edgenetd on %s had %d MB in memory, want at most %d", host.Name, used.Peak>>20, peakMemory>>20)
		}
	}
}

// peakMemory is what a daemon that is lied to has resident at most, in bytes.
const peakMemory = 400 << 20

func meshWithALiar(t *testing.T) *lied {
	l := lab.NewTimed(t)
	hosts := l.Mesh("cloud-1", "edge-1", "edge-2")
	used := hosts[0].Token()
	hosts = append(hosts, l.Host("taken"))
	hosts[3].Start()
	hosts[3].Join(used)
	l.AwaitMesh(hosts...)
	m := &lied{
		t: t, l: l, honest: hosts[:3], taken: hosts[3], used: used,
		truth: make(map[*lab.Host]string), events: make(map[*lab.Host]int), before: make(map[*lab.Host]lab.Usage),
	}
	for _, vpc := range []string{"blue", "red"} {
		hosts[0].VPC(vpc, "10.0.0.0/24")
		hosts[0].Group(vpc, "all", open)
		var tenants []*lab.Container
		for i, host := range m.honest {
			c := host.Container(fmt.Sprintf("%s-%d", vpc, i+1))
			c.Attach(vpc, fmt.Sprintf("10.0.0.%d", i+2), "all")
			for _, other := range tenants {
				other.Reaches(c, "icmp")
				m.pings = append(m.pings, other.Pings(c.IP))
			}
			tenants = append(tenants, c)
		}
	}
	own := m.taken.Container("own")
	own.Attach("blue", "10.0.0.5", "all")
	m.decoy = hosts[1].Container("decoy")
	m.decoy.Attach("blue", "10.0.0.9", "all")
	own.Reaches(m.decoy, "icmp")

	m.liar = m.taken.Modified()
	m.liar.Tells(lab.Lie{Lie: "keep"})
	// What was kept is old after this.
	hosts[0].AddRule("blue", "all", "ingress tcp 9 from any")
	m.decoy.Detach()
	m.decoy.Attach("blue", "10.0.0.9", "all")
	m.vni = vniOf(t, hosts[0], "blue")
	m.learn()
	for _, host := range m.honest {
		m.events[host], m.before[host] = len(m.told(host)), host.Usage()
	}
	return m
}

// learn takes what all honest hosts think for the truth, once they agree.
func (m *lied) learn() {
	m.t.Helper()
	for _, host := range m.honest {
		m.l.Await(host.Name+" has the truth", func() error {
			now := m.view(host)
			if !strings.Contains(now, "ingress tcp [9]") || strings.Count(now, "endpoint blue/decoy") != 1 || now != m.view(m.honest[0]) {
				return fmt.Errorf("it has\n%s", now)
			}
			m.truth[host] = now
			return nil
		})
	}
}

// view is what a host thinks of the mesh, but for the node that lies and what changes
// by itself.
func (m *lied) view(host *lab.Host) string {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), lab.Slowly(20*time.Second))
	defer cancel()
	api := host.API()
	nodes, err := api.Nodes.ListNodes(ctx, &edgenetv1.ListNodesRequest{})
	check(m.t, err)
	vpcs, err := api.VPCs.ListVPCs(ctx, &edgenetv1.ListVPCsRequest{})
	check(m.t, err)
	endpoints, err := api.Endpoints.ListEndpoints(ctx, &edgenetv1.ListEndpointsRequest{})
	check(m.t, err)
	var lines []string
	line := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, n := range nodes.GetNodes() {
		if n.GetName() != m.taken.Name {
			line("node %s %s %v %s %s %v %v %v", n.GetName(), n.GetId(), n.GetRoles(), n.GetState(), n.GetPrefix(), n.GetLinks(),
				n.GetWireguard(), n.GetIpsec())
		}
	}
	for _, v := range vpcs.GetVpcs() {
		line("vpc %s %d %v", v.GetName(), v.GetVni(), v.GetCidrs())
		groups, err := api.Groups.ListGroups(ctx, &edgenetv1.ListGroupsRequest{Vpc: v.GetName()})
		check(m.t, err)
		for _, g := range groups.GetGroups() {
			for _, r := range g.GetRules() {
				line("rule of %s/%s: %s %s %v %s %s", g.GetVpc(), g.GetName(), r.GetDirection(), r.GetProtocol(), r.GetPorts(), r.GetPeer(), r.GetAction())
			}
		}
	}
	for _, e := range endpoints.GetEndpoints() {
		if e.GetNode() != m.taken.Name {
			line("endpoint %s/%s %v on %s, %s, %v, epoch %d", e.GetVpc(), e.GetName(), e.GetIps(), e.GetNode(), e.GetState(), e.GetGroups(), e.GetEpoch())
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stillTrue awaits that every honest host thinks what it thought before.
func (m *lied) stillTrue(after string) {
	m.t.Helper()
	for _, host := range m.honest {
		m.l.Await(fmt.Sprintf("%s thinks what is true, after %s", host.Name, after), func() error {
			if now := m.view(host); now != m.truth[host] {
				return fmt.Errorf("it thinks\n%s\nand thought\n%s", now, m.truth[host])
			}
			return nil
		})
	}
}

// refusals are what a host has refused, by reason.
func (m *lied) refusals(host *lab.Host) map[string]uint64 {
	m.t.Helper()
	status, err := host.API().Status()
	check(m.t, err)
	return maps.Clone(status.GetRefusals())
}

// tells has lies be told, each of them refused by all for its reasons.
func (m *lied) tells(lies []meshLie) {
	m.t.Helper()
	for _, lie := range lies {
		before := make(map[*lab.Host]map[string]uint64)
		for _, host := range m.honest {
			before[host] = m.refusals(host)
		}
		said := m.liar.Tells(lie.Lie)
		counting := lie.by
		if counting == nil {
			counting = m.honest
		}
		for _, host := range counting {
			for _, reason := range lie.reasons {
				m.refuses(host, lie.Lie.Lie, reason, before[host])
			}
		}
		m.stillTrue(lie.Lie.Lie)
		m.t.Logf("%s: %d messages, refused as %s", lie.Lie.Lie, said, cmp.Or(strings.Join(lie.reasons, ", "), "nothing: it is no news"))
	}
}

// refuses awaits that a host has refused something for a reason.
func (m *lied) refuses(host *lab.Host, what, reason string, before map[string]uint64) {
	m.t.Helper()
	m.l.Await(fmt.Sprintf("%s refuses %q as %s", host.Name, what, reason), func() error {
		if now := m.refusals(host); now[reason] <= before[reason] {
			return fmt.Errorf("refused is %v, before %v", now, before)
		}
		return nil
	})
}

// spreads expects that what an authority changes after all that is everywhere still,
// more slowly: a thousand members are around that are nobody, and get most of the gossip.
func (m *lied) spreads() {
	m.t.Helper()
	m.honest[0].AddRule("blue", "all", "ingress tcp 10 from any")
	changed := time.Now()
	for _, host := range m.honest {
		m.l.AwaitWithin(spreadTime, host.Name+" has what was changed", func() error {
			if now := m.view(host); !strings.Contains(now, "ingress tcp [10]") {
				return fmt.Errorf("it has\n%s", now)
			}
			return nil
		})
	}
	lab.Note(m.t, lab.Figure{
		Promise: "a change is everywhere in spite of a lying node", Driver: lab.Drivers,
		Measured: time.Since(changed).Round(10 * time.Millisecond).String(), Bound: spreadTime.String(),
	})
}

// spreadTime is how soon a change is everywhere at the latest.
const spreadTime = time.Minute

// named expects that every honest host names the liar, and nobody else, for what is
// proved to be its doing.
func (m *lied) named() {
	m.t.Helper()
	for _, host := range m.honest {
		var health struct {
			Findings []struct {
				Kind, Message string
				Nodes         []string
			}
		}
		output := host.Ctl("mesh", "health", "-o", "json").Stdout // which may say that not all is well
		check(m.t, json.Unmarshal([]byte(output), &health))
		var blamed []string
		for _, finding := range health.Findings {
			if finding.Kind == "refused-messages" {
				blamed = append(blamed, finding.Nodes...)
			}
		}
		if slices.Sort(blamed); !slices.Equal(slices.Compact(blamed), []string{m.taken.Name}) {
			m.t.Errorf("%s names %v for what was refused, want %s alone:\n%s", host.Name, blamed, m.taken.Name, output)
		}
	}
}

// told are the events that a host has told of what others may not change, one in a
// line.
func (m *lied) told(host *lab.Host) []string {
	m.t.Helper()
	return slices.Collect(strings.Lines(host.MustCtl("events", "-o", "json", "--kind", "node-dead", "--kind", "node-left",
		"--kind", "node-evicted", "--kind", "node-forgotten", "--kind", "vpc", "--kind", "group", "--kind", "endpoint")))
}

// toldNothing expects that no honest host has told of anything that is not true: what
// is believed for a moment alone shows here.
func (m *lied) toldNothing() {
	m.t.Helper()
	for _, host := range m.honest {
		for _, event := range m.told(host)[m.events[host]:] {
			// What the liar says of itself it may say, and the decoy is there for its claims.
			if !strings.Contains(event, `"`+m.taken.Name+`"`) && !strings.Contains(event, `"`+m.decoy.Name+`"`) {
				m.t.Errorf("%s told: %s", host.Name, event)
			}
		}
	}
}
