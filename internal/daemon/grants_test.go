package daemon

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
)

// changeGrant changes a grant, whether they are needed, or the time.
func (w *turmoil) changeGrant(key string) {
	switch w.random.IntN(16) {
	case 0:
		from := int64(0)
		if w.random.IntN(3) == 0 {
			from = w.at.Add(time.Duration(w.random.IntN(9)-4) * time.Second).UnixMilli()
		}
		w.put(mesh.KindSettings, mesh.SettingsKey, w.version, &records.Settings{RequireGrants: w.random.IntN(4) > 0, RequiredFromMs: max(0, from)})
	case 1:
		w.at = w.at.Add(time.Duration(w.random.IntN(12)-2) * time.Second)
	case 2, 3, 4:
		w.drop(mesh.KindGrant, key)
	default:
		e := randomEndpoint(w.random, 1+uint32(w.random.IntN(2)), key[strings.LastIndex(key, "/")+1:])
		g := &records.Grant{Ips: []string{e.GetIp()}, Prefixes: e.GetPrefixes(), Groups: []string{"db", "web"}[:1+w.random.IntN(2)]}
		if w.random.IntN(3) == 0 {
			g.ExpiresMs = w.at.Add(time.Duration(w.random.IntN(20)-2) * time.Second).UnixMilli()
		}
		w.put(mesh.KindGrant, key, w.version, g)
	}
}

// placed is a set of records as authorities and nodes have made them, in whatever
// order; a node reads it now and then while they come.
type placed struct {
	*archive
	all []mesh.Record
}

func (p *placed) add(kind mesh.Kind, key string, m proto.Message) {
	payload, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	p.all = append(p.all, mesh.Record{Kind: kind, Key: key, Version: mesh.Version(len(p.all) + 1), Payload: payload})
}

// arrive has the records come, older states of them before or after newer ones, as the
// mesh lets them in: what is older is no news.
func (p *placed) arrive(random *rand.Rand, between func()) {
	latest := map[string]mesh.Version{}
	for _, i := range random.Perm(len(p.all)) {
		rec := p.all[i]
		name := string(rec.Kind) + rec.Key
		if latest[name] > rec.Version {
			continue
		}
		latest[name] = rec.Version
		p.drop(rec.Kind, rec.Key)
		list := append(slices.Clone(p.lists[rec.Kind]), rec)
		slices.SortFunc(list, func(a, b mesh.Record) int { return strings.Compare(a.Key, b.Key) })
		p.lists[rec.Kind] = list
		between()
	}
}

const grantTests = 300 // times 5 orders

var beginning = time.UnixMilli(1_700_000_000_000)

// randomPlacement has a few endpoints on two nodes, with grants that are right, of
// others, expired, or not there.
func randomPlacement(random *rand.Rand) *placed {
	p := &placed{archive: &archive{lists: map[mesh.Kind][]mesh.Record{}, at: beginning}}
	for i, id := range []mesh.NodeID{here, there} {
		prefix := netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 1, 1, byte(i)}), 64)
		p.nodes = append(p.nodes, mesh.Node{ID: id, Name: fmt.Sprint("n", i), Prefix: prefix, Local: i == 0})
	}
	p.add(mesh.KindVPC, "blue", &records.VPC{Vni: 1, Cidrs: []string{"10.0.0.0/24"}})
	p.add(mesh.KindSettings, mesh.SettingsKey, &records.Settings{RequireGrants: random.IntN(2) == 0})
	p.add(mesh.KindSettings, mesh.SettingsKey, &records.Settings{RequireGrants: random.IntN(4) > 0})
	for range 1 + random.IntN(12) {
		key := records.EndpointKey([]mesh.NodeID{here, there}[random.IntN(2)], 1, fmt.Sprint("e", random.IntN(4)))
		ip := fmt.Sprint("10.0.0.", 5+random.IntN(3))
		switch random.IntN(5) {
		case 0, 1:
			p.add(mesh.KindEndpoint, key, &records.Endpoint{
				Ip: ip, Kind: records.KindTap, Device: "t", Claim: uint64(len(p.all)), Epoch: uint32(random.IntN(5)),
				Superseded: random.IntN(8) == 0, Released: random.IntN(8) == 0,
			})
		default:
			ips := slices.Compact(slices.Sorted(slices.Values([]string{ip, fmt.Sprint("10.0.0.", 5+random.IntN(3))})))
			g := &records.Grant{Ips: ips}
			if random.IntN(4) == 0 {
				g.ExpiresMs = beginning.Add(time.Duration(random.IntN(3)-1) * time.Hour).UnixMilli()
			}
			p.add(mesh.KindGrant, key, g)
		}
	}
	return p
}

// granted says who has what, by the definition alone: of the endpoints whose grant names
// their address, and has not expired, those that outrank the others.
func (p *placed) naive(t *testing.T) []string {
	t.Helper()
	last := map[string]mesh.Record{}
	for _, rec := range p.all {
		last[string(rec.Kind)+" "+rec.Key] = rec
	}
	settings, err := records.DecodeSettings(last[string(mesh.KindSettings)+" "+mesh.SettingsKey])
	if err != nil {
		t.Fatal(err)
	}
	var rivals []*endpoint
	for _, rec := range last {
		if rec.Kind != mesh.KindEndpoint {
			continue
		}
		e, err := decodeEndpoint(rec)
		if err != nil {
			t.Fatal(err)
		}
		grant, there := last[string(mesh.KindGrant)+" "+rec.Key]
		if g, err := records.DecodeGrant(grant); settings.GetRequireGrants() && (!there || err != nil || !slices.Contains(g.GetIps(), e.record.GetIp()) ||
			g.GetExpiresMs() != 0 && g.GetExpiresMs() <= p.at.UnixMilli()) {
			continue
		}
		if !e.record.GetSuperseded() {
			rivals = append(rivals, e)
		}
	}
	slices.SortFunc(rivals, outrank)
	var standing []*endpoint
	var out []string
	for _, e := range rivals {
		if slices.ContainsFunc(standing, e.rivals) {
			continue
		}
		standing = append(standing, e)
		if !e.record.GetReleased() {
			out = append(out, fmt.Sprint(1, e.addrs[0], e.key(), true))
		}
	}
	slices.Sort(out)
	return out
}

// In whatever order settings, grants and claims come, and whether a node was started in
// between or not, all come to the same end, which is what the definition says.
func TestAnyOrderOfGrantsAndClaimsComesToTheSame(t *testing.T) {
	required := 0
	for seed := range uint64(grantTests) {
		random := rand.New(rand.NewPCG(seed, 2))
		first := randomPlacement(random)
		want := first.naive(t)
		for range 5 {
			p := &placed{archive: &archive{nodes: first.nodes, lists: map[mesh.Kind][]mesh.Record{}, at: first.at}, all: first.all}
			r := &reader{mesh: p}
			p.arrive(random, func() {
				switch random.IntN(6) {
				case 0:
					r = &reader{mesh: p} // a restart
				case 1, 2:
					r.read()
				}
			})
			s := r.read()
			if got := winners(s); !slices.Equal(got, want) {
				t.Fatalf("seed %d: got %v, want %v", seed, got, want)
			}
			if s.byVNI[1].grants != nil {
				required++
			}
		}
	}
	if required < grantTests {
		t.Errorf("grants were required only %d times", required)
	}
}

// theft is what a node claims that was taken over, and what it lacks for that.
type theft struct {
	key   string
	claim *records.Endpoint
	lacks string
}

func theftsOf(own string) map[string]theft {
	return map[string]theft{
		"what it was given":              {own, &records.Endpoint{Ip: "10.0.0.7", Groups: []string{"web"}}, ""},
		"another's address":              {own, &records.Endpoint{Ip: "10.0.0.5"}, "has not the address 10.0.0.5"},
		"another's address as a second":  {own, &records.Endpoint{Ip: "10.0.0.7", MoreIps: []string{"10.0.0.5"}}, "has not the address 10.0.0.5"},
		"a prefix around it":             {own, &records.Endpoint{Ip: "10.0.0.7", Prefixes: []string{"10.0.0.0/28"}}, "has not the prefix 10.0.0.0/28"},
		"another's name":                 {records.EndpointKey(there, 1, "db"), &records.Endpoint{Ip: "10.0.0.7"}, "no grant for it"},
		"its own address by a new name":  {records.EndpointKey(there, 1, "new"), &records.Endpoint{Ip: "10.0.0.7"}, "no grant for it"},
		"a group":                        {own, &records.Endpoint{Ip: "10.0.0.7", Groups: []string{"admin"}}, "has not the group admin"},
		"what it had until the last day": {records.EndpointKey(there, 1, "old"), &records.Endpoint{Ip: "10.0.0.5"}, "has expired"},
		"the rank of what it has not":    {records.EndpointKey(there, 1, "db"), &records.Endpoint{Ip: "10.0.0.5", Released: true}, "no grant for it"},
	}
}

// What a node does that was taken over, in a mesh that requires grants.
func TestAStolenNodeClaimsNothingThatWasNotPlacedOnIt(t *testing.T) {
	later := time.Now().Add(time.Hour)
	own, db := records.EndpointKey(there, 1, "own"), records.EndpointKey(here, 1, "db")
	for name, c := range theftsOf(own) {
		t.Run(name, func(t *testing.T) {
			p := randomPlacement(rand.New(rand.NewPCG(1, 1)))
			p.put(mesh.KindVPC, "blue", 1, &records.VPC{Vni: 1, Cidrs: []string{"10.0.0.0/24"}})
			p.put(mesh.KindSettings, mesh.SettingsKey, 1, &records.Settings{RequireGrants: true})
			p.put(mesh.KindGrant, db, 1, &records.Grant{Ips: []string{"10.0.0.5"}})
			p.put(mesh.KindGrant, own, 1, &records.Grant{Ips: []string{"10.0.0.7"}, Groups: []string{"web"}})
			p.put(mesh.KindGrant, records.EndpointKey(there, 1, "old"), 1, &records.Grant{Ips: []string{"10.0.0.5"}, ExpiresMs: beginning.UnixMilli()})
			p.put(mesh.KindEndpoint, db, 2, &records.Endpoint{Ip: "10.0.0.5", Kind: records.KindTap, Device: "t", Claim: 1, Epoch: 1})
			r := &reader{mesh: p, doubted: new([]doubted)}
			r.read()
			c.claim.Kind, c.claim.Device, c.claim.Claim, c.claim.Epoch = records.KindTap, "t", 1000, 1<<32-1
			p.put(mesh.KindEndpoint, c.key, 3, c.claim)
			s := r.read()
			v := s.byVNI[1]
			holder := v.names["db"]
			if holder == nil || holder.node != here || v.hosts[netip.MustParseAddr("10.0.0.5")] != holder {
				t.Errorf("db has lost to it: %v", winners(s))
			}
			if len(v.announced)+len(v.carriers) > 0 {
				t.Errorf("it has %v and %v", v.announced, v.carriers)
			}
			claims := slices.Concat(v.all, v.released)
			claim := claims[slices.IndexFunc(claims, func(e *endpoint) bool { return e.key() == c.key })]
			switch {
			case claim.holds() != (c.lacks == ""):
				t.Errorf("it is %v, holds %t", claim.barred, claim.holds())
			case c.lacks != "" && !strings.Contains(claim.barred.Error(), c.lacks):
				t.Errorf("it is %v; want that it %s", claim.barred, c.lacks)
			}
			blames := 1 // What was released claims nothing.
			if c.lacks == "" || c.claim.GetReleased() {
				blames = 0
			}
			if early := r.unfounded(time.Now()); len(early) > 0 {
				t.Errorf("%v are blamed at once", early)
			}
			if blamed := r.unfounded(later); !slices.Equal(blamed, slices.Repeat([]mesh.NodeID{there}, blames)) || len(s.ungrantedInWords()) != blames {
				t.Errorf("blamed are %v: %v", blamed, s.ungrantedInWords())
			}
			if again := r.unfounded(later); len(again) > 0 {
				t.Errorf("%v are blamed again", again)
			}
		})
	}
}

// An endpoint goes with its grant and comes with it, without any other record; renewal
// before the end is nothing that anybody notices.
func TestGrantsEndInTimeAndAreRenewedBefore(t *testing.T) {
	p := randomPlacement(rand.New(rand.NewPCG(1, 1)))
	key := records.EndpointKey(there, 1, "web")
	give := func(version mesh.Version, until time.Duration) {
		p.put(mesh.KindGrant, key, version, &records.Grant{Ips: []string{"10.0.0.5"}, ExpiresMs: beginning.Add(until).UnixMilli()})
	}
	p.put(mesh.KindVPC, "blue", 1, &records.VPC{Vni: 1, Cidrs: []string{"10.0.0.0/24"}})
	p.put(mesh.KindSettings, mesh.SettingsKey, 1, &records.Settings{RequireGrants: true})
	p.put(mesh.KindEndpoint, key, 1, &records.Endpoint{Ip: "10.0.0.5", Kind: records.KindTap, Device: "t", Claim: 1})
	give(1, time.Hour)
	r := &reader{mesh: p}
	for i, step := range []struct {
		at    time.Duration
		do    func()
		holds bool
		until time.Duration
	}{
		{0, func() {}, true, time.Hour},
		{59 * time.Minute, func() { give(2, 2*time.Hour) }, true, 2 * time.Hour},
		{time.Hour, func() {}, true, 2 * time.Hour},
		{2 * time.Hour, func() {}, false, 0},
		{2*time.Hour + time.Minute, func() { give(3, 3*time.Hour) }, true, 3 * time.Hour},
		{4 * time.Hour, func() {}, false, 0},
		{2*time.Hour + 30*time.Minute, func() {}, true, 3 * time.Hour}, // the clock is set back
	} {
		p.at = beginning.Add(step.at)
		step.do()
		s := r.read()
		if got := len(s.byVNI[1].hosts) == 1; got != step.holds {
			t.Errorf("step %d: it holds its address: %t", i, got)
		}
		// It may be looked at once too often, for a grant that is not there any more.
		if want := beginning.Add(step.until); step.until != 0 && (s.until.After(want) || !s.until.After(p.at)) || step.until == 0 && !s.until.IsZero() {
			t.Errorf("step %d: something changes at %s, want %s", i, s.until, want)
		}
	}
}
