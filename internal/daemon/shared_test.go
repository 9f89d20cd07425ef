package daemon

import (
	"net/netip"
	"slices"
	"testing"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/mesh"
)

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, text := range texts {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}

// carries gives an endpoint of a test prefixes.
func (e *endpoint) carries(prefixes ...string) *endpoint {
	e.record.Prefixes = prefixes
	for _, p := range prefixes {
		e.routed = append(e.routed, netip.MustParsePrefix(p))
	}
	return e
}

func (e *endpoint) announces(addr string, at mesh.Version) *endpoint {
	e.announced = append(e.announced, announcement{addr: netip.MustParseAddr(addr), version: at})
	e.record.Announced = append(e.record.Announced, &records.Announced{Address: addr, Version: uint64(at)})
	return e
}

// An endpoint has all of its addresses or none.
func TestAnEndpointIsSupersededAsAWhole(t *testing.T) {
	w := newWorld("blue")
	old := w.attach(here, 1, "old", "10.0.0.5", 1)
	old.addrs = addrs("10.0.0.5", "10.0.0.6", "10.0.0.7")
	w.attach(there, 1, "new", "10.0.0.6", 2)
	third := w.attach(there, 1, "third", "10.0.0.7", 0) // earlier than what was itself superseded
	state := mustDerive(t, w)
	if !old.lost || third.lost {
		t.Errorf("the old one is superseded: %v, the third: %v; want the old one alone", old.lost, third.lost)
	}
	if got := len(state.Addresses); got != 2 {
		t.Errorf("there are %d addresses: %v, want those of the others", got, state.Addresses)
	}
	if by := w.byVNI[1].hosts[netip.MustParseAddr("10.0.0.5")]; by != nil {
		t.Errorf("10.0.0.5 is still %s's", by.name)
	}
}

func TestASharedPrefixIsAtTheFirstUntilAnotherAnnounces(t *testing.T) {
	w := newWorld("blue")
	second := w.attach(there, 1, "second", "10.0.0.6", 2).carries("10.0.0.100/32", "10.0.0.128/25")
	w.attach(here, 1, "first", "10.0.0.5", 1).carries("10.0.0.100/32", "10.0.0.128/25")
	w.attach(here, 1, "own", "10.0.0.200", 3)
	mustDerive(t, w)
	want := func(addr, name string) {
		t.Helper()
		got := ""
		if e := w.byVNI[1].at(netip.MustParseAddr(addr)); e != nil {
			got = e.name
		}
		if got != name {
			t.Errorf("%s is at %q, want %q", addr, got, name)
		}
	}
	want("10.0.0.100", "first")
	want("10.0.0.129", "first")
	want("10.0.0.200", "own")
	want("10.0.0.101", "")

	second.announces("10.0.0.100", 7).announces("10.0.0.129", 8).announces("10.0.0.200", 9)
	state := mustDerive(t, w)
	want("10.0.0.100", "second")
	want("10.0.0.129", "second")
	want("10.0.0.130", "first")
	want("10.0.0.200", "own")
	for prefix, node := range map[string]netip.Prefix{
		"10.0.0.100/32": w.nodes[there].Prefix, "10.0.0.129/32": w.nodes[there].Prefix, "10.0.0.128/25": {},
	} {
		if got, ok := state.Routes[vpcPrefix{1, netip.MustParsePrefix(prefix)}]; !ok || got.Node != node {
			t.Errorf("%s leads to %+v, want node %v", prefix, got, node)
		}
	}
	// The latest announcement counts, whatever the order of claims.
	w.claims[1].announces("10.0.0.100", 10)
	mustDerive(t, w)
	want("10.0.0.100", "first")
	// Who is superseded has no prefixes either.
	w.attach(there, 1, "taker", "10.0.0.5", 20)
	mustDerive(t, w)
	want("10.0.0.100", "second")
	want("10.0.0.130", "second")
}

func TestOnlyWhatIsBehindAnEndpointIsGainedByAnnouncing(t *testing.T) {
	w := newWorld("blue")
	first := w.attach(here, 1, "first", "10.0.0.5", 1).carries("10.0.0.100/32", "10.0.0.0/25")
	second := w.attach(here, 1, "second", "10.0.0.6", 2).carries("10.0.0.100/32", "10.0.0.0/25")
	mustDerive(t, w)
	v := w.byVNI[1]
	first, second = v.names[first.name], v.names[second.name]
	for addr, want := range map[string]bool{
		"10.0.0.100": true, "10.0.0.7": true, // in a prefix of its own
		"10.0.0.5": false, "10.0.0.6": false, // own addresses
		"10.0.0.1": false, "10.0.0.0": false, "10.0.0.200": false, "10.1.0.100": false, "fd00::1": false,
	} {
		if got := v.gains(second, netip.MustParseAddr(addr)); got != want {
			t.Errorf("announcing %s gains it: %v, want %v", addr, got, want)
		}
	}
	if v.gains(first, netip.MustParseAddr("10.0.0.100")) {
		t.Error("who has an address already gains it again")
	}
}

func TestOneEndpointIsNotHeardInsteadOfOthers(t *testing.T) {
	h := newHeard()
	web, db := isolation.Key{VNI: 1, Name: "web"}, isolation.Key{VNI: 1, Name: "db"}
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }
	for i := range 10 * maxHeard {
		h.hear(web, addr(i))
		h.hear(web, addr(0))
	}
	h.hear(db, addr(0))
	got := h.take()
	if n := len(got[web]); n != maxHeard || !slices.Equal(got[db], []netip.Addr{addr(0)}) {
		t.Errorf("%d addresses of web were heard, and %v of db; want %d and %v", n, got[db], maxHeard, addr(0))
	}
	if left := h.take(); len(left) > 0 {
		t.Errorf("%v were heard twice", left)
	}
}

func TestARecordOfAnnouncementsIsBounded(t *testing.T) {
	w := newWorld("blue")
	e := w.attach(here, 1, "web", "10.0.0.5", 1).carries("10.0.0.0/24")
	w.attach(there, 1, "db", "10.0.0.6", 2).carries("10.0.0.0/24").announces("10.0.0.9", 50)
	e.announces("10.0.0.9", 40)
	for i := range 255 {
		if i != 5 && i != 6 && i != 9 {
			e.announces(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String(), mesh.Version(100+i))
		}
	}
	mustDerive(t, w)
	v := w.byVNI[1]
	next := v.announce(v.names["web"], addrs("10.0.0.20", "10.0.0.255"), 1000)
	if n := len(next.GetAnnounced()); n != 251 { // what no endpoint can have was left out
		t.Errorf("there are %d announced", n)
	}
	if slices.ContainsFunc(next.GetAnnounced(), func(a *records.Announced) bool { return a.GetAddress() == "10.0.0.9" }) {
		t.Error("what another has by now is still said")
	}
	last := next.GetAnnounced()[len(next.GetAnnounced())-1]
	if last.GetAddress() != "10.0.0.255" || last.GetVersion() != 1000 {
		t.Errorf("the last is %v", last)
	}
	many := make([]netip.Addr, 300)
	for i := range many {
		many[i] = netip.AddrFrom4([4]byte{10, 0, byte(1 + i/256), byte(i)})
	}
	if next := v.announce(v.names["web"], many, 1001); len(next.GetAnnounced()) != records.MaxAnnounced || next.GetAnnounced()[0].GetVersion() != 1001 {
		t.Errorf("of many there are %d", len(next.GetAnnounced()))
	}
}

// What is derived step by step is what is derived anew.
func TestPartsFollowEveryChange(t *testing.T) {
	w := newWorld("blue")
	var steps derived
	check := func(what string) {
		t.Helper()
		w.settle()
		got, problems := steps.derive(w.snapshot, []string{"tun"}, nil)
		want, _ := new(derived).derive(w.snapshot, []string{"tun"}, nil)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		if g, w := flatten(got), flatten(want); !g.equal(w) {
			t.Errorf("%s: got\n%+v\nwant\n%+v", what, g, w)
		}
	}
	w.attach(here, 1, "web", "10.0.0.5", 1)
	check("an endpoint")
	w.attach(there, 1, "db", "10.0.0.6", 2).carries("10.0.0.128/25")
	check("another with a prefix")
	w.group("web", "80", "any")
	check("a group")
	w.claims[0].record = &records.Endpoint{Ip: "10.0.0.5", Kind: records.KindTap, Device: "tap0", Groups: []string{"web"}, Claim: 1}
	check("an endpoint with a group")
	w.group("db", "5432", "10.0.0.160/27")
	check("a rule that tells addresses of the prefix apart")
	w.claims[0].record = &records.Endpoint{Ip: "10.0.0.5", Kind: records.KindTap, Device: "tap0", Groups: []string{"db", "web"}, Claim: 1}
	check("two groups")
	w.attach(there, 1, "thief", "10.0.0.5", 9)
	check("a superseded endpoint")
	w.claims = w.claims[:1]
	check("others are gone")
}

func TestWhatIsTheSameIsHandedOverAtTheSamePlace(t *testing.T) {
	w := newWorld("blue")
	w.attach(here, 1, "web", "10.0.0.5", 1).record.Groups = []string{"web"}
	w.attach(there, 1, "db", "10.0.0.6", 2)
	w.group("web", "80", "any")
	w.settle()
	var d derived
	first, _ := d.derive(w.snapshot, nil, nil)
	w.group("unused", "1", "any")
	if again, _ := d.derive(w.snapshot, nil, nil); again.VPCs[1] != first.VPCs[1] {
		t.Error("a group that nobody here carries changed what is handed over")
	}
	w.group("web", "443", "any")
	next, _ := d.derive(w.snapshot, nil, nil)
	if next.VPCs[1] == first.VPCs[1] || next.VPCs[1].Since != first.VPCs[1] || len(next.VPCs[1].Changed) > 0 {
		t.Errorf("a changed rule is handed over as %+v", next.VPCs[1])
	}
	w.attach(there, 1, "third", "10.0.0.7", 3)
	w.settle()
	last, _ := d.derive(w.snapshot, nil, nil)
	if got := last.VPCs[1]; got.Since != next.VPCs[1] || !slices.Equal(got.Changed, addrs("10.0.0.7")) || next.VPCs[1].Since != nil {
		t.Errorf("an attach is handed over as %+v", got)
	}
}

// A node may sign what it likes of its own endpoints: that they announced the
// gateway, too.
func TestAnAnnouncementOfWhatIsNoEndpointsIsNothing(t *testing.T) {
	w := newWorld("blue")
	w.attach(here, 1, "web", "10.0.0.5", 1)
	w.attach(there, 1, "thief", "10.0.0.6", 2).carries("10.0.0.0/24").
		announces("10.0.0.1", 3).announces("10.0.0.0", 3).announces("10.0.0.255", 3).announces("10.0.0.7", 3)
	state := mustDerive(t, w)
	if got := w.byVNI[1].announced; len(got) != 1 || got[netip.MustParseAddr("10.0.0.7")] == nil {
		t.Errorf("announced are %v, want 10.0.0.7 alone", got)
	}
	for at := range state.Routes {
		if at.Prefix != netip.MustParsePrefix("10.0.0.0/24") && at.Prefix != netip.MustParsePrefix("10.0.0.7/32") {
			t.Errorf("%s leads to the thief", at.Prefix)
		}
	}
}

// The mesh settles which of two payloads of one version counts; what was decoded
// before must not stay.
func TestAnotherPayloadOfTheSameVersionIsDecoded(t *testing.T) {
	var d decoded[string]
	decode := func(r mesh.Record) (string, error) { return string(r.Payload), nil }
	one := mesh.Record{Key: "a", Version: 7, Payload: []byte("one")}
	d.update([]mesh.Record{one}, decode)
	two := one
	two.Payload = []byte("two")
	before, now := d.update([]mesh.Record{two}, decode)
	if !slices.Equal(before, []string{"one"}) || !slices.Equal(now, []string{"two"}) || d.list[0].value != "two" {
		t.Errorf("before %q, now %q, kept %q", before, now, d.list[0].value)
	}
}
