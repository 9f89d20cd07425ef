package policy

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Compiled is one VPC as the datapath uses it. It is not to be changed: tables
// may share their intervals.
type Compiled struct {
	// Identities has every host of the VPC.
	Identities map[netip.Addr]Identity
	// Tables has every table that [Compiled.Policy] can name.
	Tables map[ID]*Table

	sets map[setKey]ID
}

// setKey names a set of groups in one direction.
type setKey struct {
	groups string
	dir    Direction
}

// newSetKey takes a normal set. Names carry their length, since a name that no
// group has may contain anything.
func newSetKey(groups []string, dir Direction) setKey {
	var joined strings.Builder
	for _, name := range groups {
		fmt.Fprintf(&joined, "%d:%s,", len(name), name)
	}
	return setKey{groups: joined.String(), dir: dir}
}

// Policy is the table for an endpoint that carries the groups, in any order. It
// is 0, which drops everything, for a set that was not in VPC.Sets.
func (c *Compiled) Policy(groups []string, dir Direction) ID {
	return c.sets[newSetKey(normalSet(groups), dir)]
}

// Compile makes the identities of the VPC's hosts and the tables of its sets.
// The cost is about linear in hosts and rules: an address is looked up once for
// each prefix length in use, and rules are matched once for each set of selectors
// that they tell apart, not for each host. It fails for a VPC that is not valid
// and for an address that occurs twice.
//
// Where several rules permit a port, the table names the first by group, then
// by rule ID.
func Compile(in VPC) (*Compiled, error) {
	if err := in.Validate(); err != nil {
		return nil, fmt.Errorf("compile VPC %d: %w", in.VNI, err)
	}
	for _, g := range in.Groups {
		for _, r := range g.Rules {
			if r.Action != Allow || r.Priority != (Priority{}) || len(r.Peer.Except) > 0 || r.ICMP != (ICMP{}) || r.Disabled {
				return nil, fmt.Errorf("compile VPC %d: group %s rule %s (%s) cannot be enforced yet", in.VNI, g.Name, r.ID(), r)
			}
		}
	}
	sels := newSelectors(in.Groups)
	byAddr, identities, err := sels.identify(in.VNI, in.Hosts)
	if err != nil {
		return nil, fmt.Errorf("compile VPC %d: %w", in.VNI, err)
	}
	c := &compiler{
		vni:        in.VNI,
		rules:      orderRules(in.Groups, sels),
		identities: identities,
		done:       make(map[setKey]ID),
		out: &Compiled{
			Identities: byAddr,
			Tables:     make(map[ID]*Table),
			sets:       make(map[setKey]ID),
		},
	}
	for _, set := range in.Sets {
		set = normalSet(set)
		for _, dir := range []Direction{Ingress, Egress} {
			key := newSetKey(set, dir)
			if c.out.sets[key], err = c.policy(set, dir); err != nil {
				return nil, fmt.Errorf("compile VPC %d: %w", in.VNI, err)
			}
		}
	}
	return c.out, nil
}

type compiler struct {
	vni        uint32
	rules      map[groupKey][]compiledRule
	identities []identity
	// done has the tables by the groups that contribute rules to them, since
	// many sets differ only in groups without rules.
	done map[setKey]ID
	out  *Compiled
}

// groupKey names the rules of one group in one direction.
type groupKey struct {
	group string
	dir   Direction
}

// compiledRule is a rule as the compiler needs it, worked out once.
type compiledRule struct {
	ref  RuleRef
	rule Rule
	peer selector
}

// orderRules sorts the rules of each group and direction by their ID.
func orderRules(groups []Group, sels *selectors) map[groupKey][]compiledRule {
	ordered := make(map[groupKey][]compiledRule)
	for _, g := range groups {
		for _, r := range g.Rules {
			key := groupKey{g.Name, r.Direction}
			ref := RuleRef{Group: g.Name, ID: r.ID()}
			ordered[key] = append(ordered[key], compiledRule{ref: ref, rule: r, peer: sels.ofPeer(r.Peer)})
		}
	}
	for _, rules := range ordered {
		slices.SortFunc(rules, func(a, b compiledRule) int { return cmp.Compare(a.ref.ID, b.ref.ID) })
	}
	return ordered
}

// policy makes the table of a normal set, or finds it made.
func (c *compiler) policy(set []string, dir Direction) (ID, error) {
	var (
		rules        []compiledRule
		contributors []string
	)
	for _, name := range set {
		if of := c.rules[groupKey{name, dir}]; len(of) > 0 {
			rules = append(rules, of...)
			contributors = append(contributors, name)
		}
	}
	key := newSetKey(contributors, dir)
	if id, ok := c.done[key]; ok {
		return id, nil
	}
	if len(rules) == 0 && dir == Egress {
		// Everything goes out until a group says otherwise.
		rules = []compiledRule{{rule: Rule{Direction: Egress}}}
	}
	table, id := newTableBuilder(rules).build(c.vni, dir, c.identities)
	// Rules that permit nothing are no part of a table, so that another set may
	// well have the same one.
	if other, taken := c.out.Tables[id]; taken && !table.equal(other) {
		return 0, fmt.Errorf("two policies have the number %x: rename one of the groups %q", uint64(id), contributors)
	}
	c.out.Tables[id] = table
	c.done[key] = id
	return id, nil
}

func (t *Table) equal(other *Table) bool {
	return slices.Equal(t.Rules, other.Rules) &&
		maps.EqualFunc(t.Verdicts, other.Verdicts, slices.Equal[[]Interval])
}
