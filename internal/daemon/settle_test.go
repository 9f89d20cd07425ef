package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// winners are who holds what, as text.
func winners(s *snapshot) []string {
	var out []string
	for _, v := range s.byVNI {
		for addr, e := range v.hosts {
			out = append(out, fmt.Sprint(v.vni(), addr, e.key(), v.names[e.name] == e))
		}
	}
	slices.Sort(out)
	return out
}

// naive settles by asking of each claim whether a later one that stands is in
// its way: the definition.
func naive(claims []*endpoint) []string {
	rest := slices.Clone(claims)
	slices.SortFunc(rest, func(a, b *endpoint) int {
		if a.record.GetClaim() != b.record.GetClaim() {
			return int(b.record.GetClaim()) - int(a.record.GetClaim())
		}
		if a.node != b.node {
			return strings.Compare(string(b.node), string(a.node))
		}
		return strings.Compare(a.name, b.name)
	})
	var standing []*endpoint
	var out []string
	for _, e := range rest {
		beaten := e.record.GetSuperseded()
		for _, other := range standing {
			beaten = beaten || (other.vni == e.vni && (other.addrs[0] == e.addrs[0] || other.name == e.name))
		}
		if !beaten {
			standing = append(standing, e)
			out = append(out, fmt.Sprint(e.vni, e.addrs[0], e.key(), true))
		}
	}
	slices.Sort(out)
	return out
}

// In whatever order a node heard of the claims, it settles them like all others.
func TestAnyOrderOfRecordsGivesTheSameWinners(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		first := newWorld("blue", "green")
		for range random.IntN(30) {
			node := []mesh.NodeID{here, there}[random.IntN(2)]
			e := first.attach(node, uint32(1+random.IntN(2)), fmt.Sprint("e", random.IntN(8)), fmt.Sprint("10.0.0.", 2+random.IntN(8)), uint64(random.IntN(6)))
			e.record.Superseded = random.IntN(10) == 0
			// A node has one record of a name.
			if last := len(first.claims) - 1; slices.ContainsFunc(first.claims[:last], e.same) {
				first.claims = first.claims[:last]
			}
		}
		want := naive(first.claims)
		for range 4 {
			again := newWorld("blue", "green")
			for _, i := range random.Perm(len(first.claims)) {
				copied := *first.claims[i]
				again.claims = append(again.claims, &copied)
			}
			again.settle()
			got := winners(again.snapshot)
			if i := len(again.claims) - 1; i >= 0 { // As if the last were being attached.
				last := *again.claims[i]
				with, _ := again.with(&last)
				if after := winners(again.snapshot); !slices.Equal(after, got) {
					t.Fatalf("seed %d: a snapshot was changed from %v to %v", seed, got, after)
				}
				got = winners(with)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d: got %v, want %v", seed, got, want)
			}
		}
	}
}

func TestAnAddressThatIsNoEndpointsIsNobodys(t *testing.T) {
	s := newWorld("blue")
	s.attach(there, 1, "gateway", "10.0.0.1", 9)
	s.attach(there, 1, "outside", "10.9.0.5", 9)
	web := s.attach(here, 1, "web", "10.0.0.5", 1)
	state := mustDerive(t, s)
	if len(state.Addresses) != 1 || !web.holds() {
		t.Errorf("the datapath knows %v, want web alone", state.Addresses)
	}
	if got := s.apiEndpoint(s.claims[0]); got.GetState() != endpointFailed || !strings.Contains(got.GetMessage(), "gateway") {
		t.Errorf("it is told as %v", got)
	}
}

// Rules that cannot be compiled close their VPC and no other, and nobody's
// device is taken away for that.
func TestAVPCThatCannotBeCompiledIsCutOffAlone(t *testing.T) {
	s := newWorld("blue", "green")
	s.attach(here, 1, "web", "10.0.0.5", 1)
	s.attach(here, 2, "web", "10.0.0.5", 2)
	s.byVNI[1].groups["bad"] = &group{name: "bad", rules: []policy.Rule{{}}}
	s.settle()
	state, problems := new(derived).derive(s.snapshot, nil, nil)
	if len(problems) != 1 || problems[1] == nil {
		t.Errorf("problems are %v, want one of blue", problems)
	}
	flat := flatten(state)
	blue, green := flat.Endpoints[isolation.Key{VNI: 1, Name: "web"}], flat.Endpoints[isolation.Key{VNI: 2, Name: "web"}]
	if !blue.Superseded || blue.Netns == "" || green.Superseded {
		t.Errorf("blue is %+v, green is %+v", blue, green)
	}
}

func TestRecordsAreDecodedOnce(t *testing.T) {
	calls := 0
	decode := func(r mesh.Record) (string, error) {
		calls++
		if r.Key == "bad" {
			return "", errors.New("bad")
		}
		return r.Key + fmt.Sprint(r.Version), nil
	}
	record := func(key string, v mesh.Version) mesh.Record { return mesh.Record{Key: key, Version: v} }
	var d decoded[string]
	for i, step := range []struct {
		recs         []mesh.Record
		calls        int
		want         []string
		before, news []string
	}{
		{[]mesh.Record{record("a", 1), record("bad", 1), record("c", 1)}, 3, []string{"a1", "", "c1"}, nil, []string{"a1", "c1"}},
		{[]mesh.Record{record("a", 1), record("bad", 1), record("c", 1)}, 0, []string{"a1", "", "c1"}, nil, nil},
		{[]mesh.Record{record("a", 2), record("b", 1), record("c", 1)}, 2, []string{"a2", "b1", "c1"}, []string{"a1"}, []string{"a2", "b1"}},
		{[]mesh.Record{record("c", 1), record("d", 1)}, 1, []string{"c1", "d1"}, []string{"a2", "b1"}, []string{"d1"}},
		{nil, 0, nil, []string{"c1", "d1"}, nil},
	} {
		calls = 0
		before, news := d.update(step.recs, decode)
		var got []string
		for _, one := range d.list {
			got = append(got, one.value)
		}
		if calls != step.calls || !slices.Equal(got, step.want) {
			t.Errorf("step %d: got %v in %d calls, want %v in %d", i, got, calls, step.want, step.calls)
		}
		if !slices.Equal(before, step.before) || !slices.Equal(news, step.news) {
			t.Errorf("step %d: went %v and came %v, want %v and %v", i, before, news, step.before, step.news)
		}
	}
}

func TestAComplaintIsLoggedOnceUntilItChanges(t *testing.T) {
	var log strings.Builder
	c := complaint{of: "it", log: slog.New(slog.NewTextHandler(&log, nil))}
	for _, err := range []error{nil, errors.New("one"), errors.New("one"), errors.New("two"), nil, nil, errors.New("two")} {
		c.note(err)
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	for i, want := range []string{"err=one", "err=two", "level=INFO", "err=two"} {
		if len(lines) != 4 || !strings.Contains(lines[i], want) {
			t.Fatalf("got %q, want %q in line %d of 4", lines, want, i+1)
		}
	}
}

func TestTheSameEndpointIsTheSameInAnyOrderOfGroups(t *testing.T) {
	req := func(groups ...string) *api.AttachEndpointRequest {
		return &api.AttachEndpointRequest{
			Name: "web", Vpc: "blue", Ip: "10.0.0.5", Groups: groups, Mac: "02-00-00-00-00-0A",
			Target: &api.AttachEndpointRequest_Tap{Tap: &api.TapTarget{Name: "tap0"}},
		}
	}
	record, err := parseAttach(req("b", "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(record.GetGroups(), []string{"a", "b"}) || record.GetMac() != "02:00:00:00:00:0a" || record.GetKind() != records.KindTap {
		t.Errorf("got %v", record)
	}
	for _, bad := range []*api.AttachEndpointRequest{
		req("Not A Name"), req(strings.Split(strings.Repeat("a,", 40), ",")...),
		{Ip: "fd00::1"},
		{Ip: "10.0.0.5", Mac: "01:00:5e:00:00:01"},
		{Ip: "10.0.0.5", Target: &api.AttachEndpointRequest_Device{Device: &api.DeviceTarget{Name: "a/b"}}},
		{Ip: "10.0.0.5", Target: &api.AttachEndpointRequest_Netns{Netns: &api.NetnsTarget{Path: "/" + strings.Repeat("x", 600)}}},
		{Ip: "10.0.0.5", Target: &api.AttachEndpointRequest_Netns{Netns: &api.NetnsTarget{Path: "/a\x00b"}}},
	} {
		if record, err := parseAttach(bad); err == nil {
			t.Errorf("%v was taken as %v", bad, record)
		}
	}
}

// Two authorities that were cut off from each other may have given a VPC too many
// rules together. The way back must be open.
func TestAVPCBeyondItsBoundsMayOnlyGetFewerRules(t *testing.T) {
	many := make([]policy.Rule, records.MaxRules)
	v := &vpc{vpcRecord: &vpcRecord{name: "blue"}, groups: map[string]*group{"a": {rules: many}, "b": {rules: many[:3]}}}
	for rules, want := range map[int]bool{2: true, 0: true, 3: false, 4: false} {
		next := &records.Group{}
		for range rules {
			next.Rules = append(next.Rules, &records.Rule{})
		}
		if err := v.hasRoom(map[string]*records.Group{"b": next}); (err == nil) != want {
			t.Errorf("from 3 too many to %d: %v", rules, err)
		}
	}
}
