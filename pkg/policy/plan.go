package policy

import (
	"fmt"
	"maps"
	"slices"
)

// tablePlan says which tables there are to be.
type tablePlan struct {
	// What the plan was made for: the wanted sets, and what says which groups
	// contribute rules.
	wanted  [][]string
	shadow  bool
	version [sides]uint64

	sets     map[string]policies
	builders map[string]*tableBuilder
}

// isStale tells whether there may be other tables to be than at the last time.
func (p *tablePlan) isStale(in *VPC, rules *[sides]*ruleSet) bool {
	if p.builders == nil || p.shadow != (in.Shadow != nil) || len(p.wanted) != len(in.Sets) {
		return true
	}
	for side := range rules {
		if rules[side].version != p.version[side] {
			return true
		}
	}
	return !sameMemory(p.wanted, in.Sets) && !slices.EqualFunc(p.wanted, in.Sets, func(a, b []string) bool {
		return sameMemory(a, b) || slices.Equal(a, b)
	})
}

// replace makes the plan anew. A builder that is still wanted stays.
func (p *tablePlan) replace(in *VPC, vni uint32, rules *[sides]*ruleSet) error {
	old := p.builders
	*p = tablePlan{
		wanted: in.Sets, shadow: in.Shadow != nil,
		sets: make(map[string]policies, len(p.sets)), builders: make(map[string]*tableBuilder, len(old)),
	}
	for side := range rules {
		p.version[side] = rules[side].version
	}
	owners := make(map[ID]*tableBuilder, len(old))
	var key []byte
	for _, set := range in.Sets {
		set = normalSet(set)
		key = appendNames(key[:0], set)
		if _, done := p.sets[string(key)]; done {
			continue
		}
		var ids policies
		for side := range rules {
			if side == shadow && !p.shadow {
				continue
			}
			for _, dir := range directions {
				b := p.builder(old, vni, rules[side], set, dir)
				if other, taken := owners[b.id]; taken && other != b {
					return fmt.Errorf("two policies have the number %x: rename one of the groups %q", uint64(b.id), set)
				}
				owners[b.id] = b
				ids[side][dir] = b.id
			}
		}
		p.sets[string(key)] = ids
	}
	return nil
}

// builder finds or makes the builder of the table of a normal set. Many sets
// differ only in groups without rules, which share a table.
func (p *tablePlan) builder(old map[string]*tableBuilder, vni uint32, rules *ruleSet, set []string, dir Direction) *tableBuilder {
	var (
		names  []string
		groups []*compiledGroup
	)
	for _, name := range set {
		if g := rules.groups[name]; g != nil && g.lists[dir].has() {
			names, groups = append(names, name), append(groups, g)
		}
	}
	key := string(appendNames([]byte{byte(rules.side), byte(dir)}, names))
	b, ok := p.builders[key]
	if ok {
		return b
	}
	if b, ok = old[key]; !ok {
		b = &tableBuilder{set: rules, dir: dir, id: tableID(vni, rules.side, dir, names)}
	}
	b.groups = groups
	p.builders[key] = b
	return b
}

// update has all tables made that are not as they should be. The tables of out
// are those of the last time, or nil if the plan is another.
func (p *tablePlan) update(out *Compiled, hosts *hostIndex, round uint64) {
	anew := out.Tables == nil
	if anew {
		out.Tables = make(map[ID]*Table, len(p.builders))
	}
	shared := !anew
	for _, b := range p.builders {
		if !b.update(hosts, round) && !anew {
			continue
		}
		if shared {
			out.Tables, shared = maps.Clone(out.Tables), false
		}
		out.Tables[b.id] = b.table
	}
}

func tableID(vni uint32, side int, dir Direction, names []string) ID {
	d := newDigest("policy v2")
	d.number(uint64(vni))
	d.number(uint64(side))
	d.number(uint64(dir))
	for _, name := range names {
		d.text(name)
	}
	return ID(d.sum64())
}
