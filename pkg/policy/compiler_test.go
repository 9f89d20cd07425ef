package policy

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// edit changes a VPC a little, or not at all, and leaves the old one alone.
func (w world) edit(v VPC) VPC {
	switch w.IntN(13) {
	case 0:
		v.Groups = w.groups()
	case 1:
		v.Shadow = w.groups()
	case 2:
		v.Shadow = nil
	case 3:
		v.CIDRs = w.cidrs()
	case 4:
		v.Hosts = w.hosts(14)
	case 5:
		v.Hosts = slices.Delete(slices.Clone(v.Hosts), 0, min(len(v.Hosts)-1, w.IntN(3)))
	case 6:
		v.Hosts = slices.Clone(v.Hosts)
		v.Hosts[w.IntN(len(v.Hosts))].Groups = w.host().Groups
	case 7:
		if h := w.host(); !slices.ContainsFunc(v.Hosts, func(other Host) bool { return other.Addr == h.Addr && other.Prefix == h.Prefix }) {
			v.Hosts = slices.Insert(slices.Clone(v.Hosts), w.IntN(len(v.Hosts)), h)
		}
	case 8:
		v.Sets = setsOf(w.hosts(6))
	case 9:
		v.Groups = w.oneGroup(v.Groups)
	default:
		if len(v.Groups) > 0 {
			v.Groups = slices.Clone(v.Groups)
			g := &v.Groups[w.IntN(len(v.Groups))]
			g.Rules = w.editRules(g.Rules)
		}
	}
	return v
}

// oneGroup has one group come or go, which the others may name.
func (w world) oneGroup(groups []Group) []Group {
	groups = slices.Clone(groups)
	name := w.group()
	at := slices.IndexFunc(groups, func(g Group) bool { return g.Name == name })
	if at >= 0 {
		return slices.Delete(groups, at, at+1)
	}
	return append(groups, Group{Name: name, Rules: w.rules(w.IntN(3))})
}

func (w world) editRules(rules []Rule) []Rule {
	rules = slices.Clone(rules)
	next := w.rule()
	id := next.ID()
	at := slices.IndexFunc(rules, func(r Rule) bool { return r.ID() == id })
	switch {
	case at >= 0:
		rules[at] = next
	case len(rules) > 0 && w.IntN(2) == 0:
		rules[w.IntN(len(rules))] = next
	case len(rules) > 0 && w.IntN(3) == 0:
		rules[w.IntN(len(rules))].Disabled = w.IntN(2) == 0
	case len(rules) > 0 && w.IntN(3) == 0:
		rules = slices.Delete(rules, 0, 1)
	default:
		rules = append(rules, next)
	}
	return rules
}

// A compiler that has seen a VPC change again and again says what one says that
// sees it for the first time, and what it said before stays as it was.
func TestACompilerForgetsNothingAndKeepsNothing(t *testing.T) {
	for seed := range uint64(60) {
		w := world{rand.New(rand.NewPCG(seed, 5))}
		var c Compiler
		v := w.vpc()
		var before, copied *Compiled
		sameCIDRs := true
		for range 60 {
			got, err := c.Compile(v)
			if err != nil {
				t.Fatal(err)
			}
			sameCompiled(t, got, compile(t, v))
			if before != nil {
				sameCompiled(t, before, copied)
				sharesWhatIsEqual(t, before, got, sameCIDRs)
				knowsWhatMoved(t, before, got, sameCIDRs)
			}
			before, copied = got, deepCopy(got)
			next := w.edit(v)
			sameCIDRs = slices.Equal(v.CIDRs, next.CIDRs)
			v = next
		}
	}
}

// knowsWhatMoved compares what a compiler says of the addresses that changed with
// those that did. It knows unless it had to begin anew.
func knowsWhatMoved(t *testing.T, before, got *Compiled, sameCIDRs bool) {
	t.Helper()
	said, known := got.Moved(before)
	if known != sameCIDRs {
		t.Fatalf("what moved is known: %v, want %v", known, sameCIDRs)
	}
	for _, addrs := range [][]netip.Addr{slices.Collect(maps.Keys(before.Identities)), slices.Collect(maps.Keys(got.Identities))} {
		for _, addr := range addrs {
			old, was := before.Identities[addr]
			now, is := got.Identities[addr]
			if known && (old != now || was != is) && !slices.Contains(said, addr) {
				t.Fatalf("%s moved from %x to %x, and it is said that %v did", addr, old, now, said)
			}
		}
	}
	if _, known := before.Moved(got); known {
		t.Fatal("the one before is said to follow")
	}
}

// sameCompiled compares all that may be asked; rules are compared by name, as
// their places in a table may differ.
func sameCompiled(t *testing.T, got, want *Compiled) {
	t.Helper()
	if !maps.Equal(got.Identities, want.Identities) || !maps.Equal(got.Prefixes, want.Prefixes) || !maps.Equal(got.sets, want.sets) {
		t.Fatalf("identities, prefixes or sets differ:\n%v %v %v\nwant\n%v %v %v", got.Identities, got.Prefixes, got.sets, want.Identities, want.Prefixes, want.sets)
	}
	if len(got.Tables) != len(want.Tables) {
		t.Fatalf("%d tables; want %d", len(got.Tables), len(want.Tables))
	}
	for id, table := range want.Tables {
		if !maps.EqualFunc(got.Tables[id].byName(), table.byName(), slices.Equal[[]namedInterval]) {
			t.Fatalf("table %x is\n%v\nwant\n%v", id, got.Tables[id].byName(), table.byName())
		}
	}
}

type namedInterval struct {
	first, last uint16
	action      Action
	rule        RuleRef
}

func (t *Table) byName() map[Match][]namedInterval {
	named := make(map[Match][]namedInterval, len(t.Verdicts))
	for m, row := range t.Verdicts {
		for _, i := range row {
			named[m] = append(named[m], namedInterval{i.First, i.Last, i.Action, t.Rules[i.Rule]})
		}
	}
	return named
}

func deepCopy(c *Compiled) *Compiled {
	out := &Compiled{Identities: maps.Clone(c.Identities), Prefixes: maps.Clone(c.Prefixes), Tables: map[ID]*Table{}, sets: maps.Clone(c.sets)}
	for id, table := range c.Tables {
		copied := &Table{Verdicts: map[Match][]Interval{}, Rules: slices.Clone(table.Rules)}
		for m, row := range table.Verdicts {
			copied.Verdicts[m] = slices.Clone(row)
		}
		out.Tables[id] = copied
	}
	return out
}

// sharesWhatIsEqual checks what consumers rely on: a row that is the same memory
// means the same, and a table that is another one differs, unless the VPC's own
// CIDRs changed, which begins all anew.
func sharesWhatIsEqual(t *testing.T, before, after *Compiled, sameCIDRs bool) {
	t.Helper()
	for id, table := range after.Tables {
		old := before.Tables[id]
		if old == nil || old == table {
			continue
		}
		was, is := old.byName(), table.byName()
		for m, row := range table.Verdicts {
			if sameMemory(old.Verdicts[m], row) && !slices.Equal(was[m], is[m]) {
				t.Fatalf("table %x: %v is the same memory and means %v, not %v", id, m, is[m], was[m])
			}
		}
		if sameCIDRs && maps.EqualFunc(was, is, slices.Equal[[]namedInterval]) && slices.Equal(old.Rules, table.Rules) {
			t.Fatalf("table %x is the same and other memory", id)
		}
	}
}

func TestWhatStaysIsTheSameMemory(t *testing.T) {
	v := bounds(1_000)
	var c Compiler
	one, err := c.Compile(v)
	if err != nil {
		t.Fatal(err)
	}
	v.Groups = slices.Clone(v.Groups)
	g := &v.Groups[17]
	g.Rules = slices.Clone(g.Rules)
	g.Rules[0].Ports = []PortRange{{7, 7}}
	two, err := c.Compile(v)
	if err != nil {
		t.Fatal(err)
	}
	if !sameMap(one.Identities, two.Identities) {
		t.Error("identities were made anew")
	}
	tables, rows := 0, 0
	for id, table := range two.Tables {
		if table == one.Tables[id] {
			continue
		}
		tables++
		for m, row := range table.Verdicts {
			if !sameMemory(row, one.Tables[id].Verdicts[m]) {
				rows++
			}
		}
	}
	if tables != 1 || rows != 1 {
		t.Errorf("one rule changed %d tables and %d rows", tables, rows)
	}
}

// sameMap tells whether two maps are one, by writing into one of them.
func sameMap(a, b map[netip.Addr]Identity) bool {
	a[netip.Addr{}] = 1
	_, same := b[netip.Addr{}]
	delete(a, netip.Addr{})
	return same
}

func TestAnErrorIsForgotten(t *testing.T) {
	w := world{rand.New(rand.NewPCG(1, 1))}
	v := w.vpc()
	var c Compiler
	for range 20 {
		broken := w.edit(v)
		broken.Hosts = append(slices.Clone(broken.Hosts), Host{})
		if _, err := c.Compile(broken); err == nil {
			t.Fatal("a host without an address is compiled")
		}
		got, err := c.Compile(v)
		if err != nil {
			t.Fatal(err)
		}
		sameCompiled(t, got, compile(t, v))
		v = w.edit(v)
	}
}

func TestAlignFindsWhatCameAndWent(t *testing.T) {
	same := func(a, b *int) bool { return *a == *b }
	for _, tt := range []struct {
		name       string
		prev, next []int
		want       []int32
	}{
		{"nothing before", nil, []int{1, 2}, []int32{-1, -1}},
		{"all the same", []int{1, 2, 3}, []int{1, 2, 3}, []int32{0, 1, 2}},
		{"one came", []int{1, 2, 3}, []int{1, 9, 2, 3}, []int32{0, -1, 1, 2}},
		{"one went", []int{1, 2, 3}, []int{1, 3}, []int32{0, 2}},
		{"one was replaced", []int{1, 2, 3}, []int{1, 9, 3}, []int32{0, -1, 2}},
		{"one came at the end", []int{1, 2}, []int{1, 2, 3}, []int32{0, 1, -1}},
		{"two went, one came", []int{1, 2, 3, 4}, []int{4, 9}, []int32{3, -1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := align(tt.prev, tt.next, same); !slices.Equal(got, tt.want) {
				t.Errorf("align(%v, %v) = %v; want %v", tt.prev, tt.next, got, tt.want)
			}
		})
	}
}
