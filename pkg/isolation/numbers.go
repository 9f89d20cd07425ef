package isolation

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/cilium/ebpf"

	"edgenet.dev/edgenet/pkg/policy"
)

// Rule names a rule for people: a rule of a group of a VPC.
type Rule struct {
	VNI   uint32
	Group string
	ID    string
}

// numbers gives rules the numbers by which the datapath calls them. A rule keeps
// its number for as long as a table names it, also over restarts: the map
// known_rules says whose they are. 0 is the default, which is no rule's.
type numbers struct {
	kernel, hits *ebpf.Map
	of           map[edgenetRuleName]uint32
	// names are of the numbers that tables of this process use.
	names map[uint32]Rule
	users map[uint32]int
	// rests are unused numbers, the one that was used last at the end: it is given
	// out last, since somebody may still look at what it counted.
	rests   []uint32
	resting []bool
	groups  map[string]uint64
	// before are the rules that numbers had in the last process.
	before map[uint32]edgenetRuleName
	// fresh are numbers whose rules the kernel does not know yet.
	fresh []uint32
}

var errNoNumber = errors.New("all numbers for rules are taken")

func openNumbers(kernel, hits *ebpf.Map) (*numbers, error) {
	n := &numbers{
		kernel: kernel, hits: hits, of: make(map[edgenetRuleName]uint32),
		names: make(map[uint32]Rule), users: make(map[uint32]int),
		resting: make([]bool, kernel.MaxEntries()), before: make(map[uint32]edgenetRuleName), groups: make(map[string]uint64),
	}
	keys := make([]uint32, kernel.MaxEntries())
	values := make([]edgenetRule, len(keys))
	var cursor ebpf.MapBatchCursor
	got, err := kernel.BatchLookup(&cursor, keys, values, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil, fmt.Errorf("read map %s: %w", edgenetMapKnownRules, err)
	}
	for i, rule := range values[:got] {
		if rule.Name != (edgenetRuleName{}) && keys[i] != 0 {
			n.of[rule.Name], n.before[keys[i]] = keys[i], rule.Name
		}
	}
	// Those of the last process come last: its tables are in force.
	for number := uint32(1); number < kernel.MaxEntries(); number++ {
		if _, taken := n.before[number]; !taken {
			n.rest(number)
		}
	}
	for number := range n.before {
		n.rest(number)
	}
	return n, nil
}

// take numbers the rules of a table of a VPC that follows another, and counts it
// as a user of each. Rules keep their places from table to table, so the first
// kept numbers are those that before has: they go over to the new table without
// a look, and are not to be released with before. All of it may be empty.
func (n *numbers) take(vni uint32, rules []policy.RuleRef, before numbered) (taken []uint32, kept int, err error) {
	kept = commonPrefix(before.table, rules)
	taken = make([]uint32, len(rules))
	copy(taken, before.numbers[:kept])
	for i, ref := range rules[kept:] {
		if ref.Group == "" {
			continue
		}
		number, err := n.use(Rule{VNI: vni, Group: ref.Group, ID: ref.ID})
		if err != nil {
			n.release(taken[kept : kept+i])
			return nil, 0, err
		}
		taken[kept+i] = number
	}
	return taken, kept, nil
}

// commonPrefix is how many rules have the same place in both lists.
func commonPrefix(before *policy.Table, rules []policy.RuleRef) int {
	if before == nil {
		return 0
	}
	n := min(len(before.Rules), len(rules))
	for i := range n {
		if before.Rules[i] != rules[i] {
			return i
		}
	}
	return n
}

// use counts one more user of a rule's number.
func (n *numbers) use(rule Rule) (uint32, error) {
	name := n.keyOf(rule)
	number, ok := n.of[name]
	if !ok {
		if number, ok = n.next(); !ok {
			return 0, fmt.Errorf("%w: there are %d", errNoNumber, n.kernel.MaxEntries()-1)
		}
		n.of[name] = number
		n.fresh = append(n.fresh, number)
	}
	if n.users[number] == 0 {
		n.names[number] = rule
	}
	n.users[number]++
	return number, nil
}

// next is a number that nobody uses, taken from whom it was.
func (n *numbers) next() (uint32, bool) {
	for len(n.rests) > 0 {
		number := n.rests[0]
		n.rests = n.rests[1:]
		n.resting[number] = false
		if n.users[number] > 0 {
			continue // its rule came back
		}
		if old, ok := n.names[number]; ok {
			delete(n.of, n.keyOf(old))
			delete(n.names, number)
		} else if old, ok := n.before[number]; ok {
			delete(n.of, old)
		}
		delete(n.before, number)
		return number, true
	}
	return 0, false
}

// flush says in the kernel whose the new numbers are, and begins to count anew.
// It comes before the rows that name them.
func (n *numbers) flush() error {
	if len(n.fresh) == 0 {
		return nil
	}
	counts := hitCounts{kernel: n.hits}
	rules := make([]edgenetRule, len(n.fresh))
	for i, number := range n.fresh {
		// Nobody counts for a number that is given out.
		flows, err := counts.of(number)
		if err != nil {
			return err
		}
		rules[i] = edgenetRule{Name: n.keyOf(n.names[number]), Flows: flows}
	}
	if err := putAll(n.kernel, n.fresh, rules); err != nil {
		return fmt.Errorf("write map %s: %w", edgenetMapKnownRules, err)
	}
	n.fresh = n.fresh[:0]
	return nil
}

func putAll[V any](m *ebpf.Map, keys []uint32, values []V) error {
	if len(keys) > few {
		_, err := m.BatchUpdate(keys, values, nil)
		return err
	}
	for i := range keys {
		if err := m.Put(keys[i], &values[i]); err != nil {
			return err
		}
	}
	return nil
}

// release takes a user from each number.
func (n *numbers) release(of []uint32) {
	for _, number := range of {
		if number == 0 {
			continue
		}
		n.users[number]--
		if n.users[number] == 0 {
			delete(n.users, number)
			n.rest(number)
		}
	}
}

func (n *numbers) rest(number uint32) {
	if !n.resting[number] {
		n.resting[number] = true
		n.rests = append(n.rests, number)
	}
}

// keyOf is how a rule's name stands in the kernel. An ID is a number already.
func (n *numbers) keyOf(r Rule) edgenetRuleName {
	id, err := strconv.ParseUint(r.ID, 16, 64)
	if err != nil {
		id = hash64(r.ID)
	}
	return edgenetRuleName{Vni: r.VNI, Group: n.group(r.Group), Id: id}
}

func (n *numbers) group(name string) uint64 {
	h, ok := n.groups[name]
	if !ok {
		h = hash64(name)
		n.groups[name] = h
	}
	return h
}

func hash64(s string) uint64 {
	sum := sha256.Sum256([]byte(s))
	return binary.NativeEndian.Uint64(sum[:8])
}

// RuleOf names the rule that the datapath calls by a number; it is false for the
// default, and for a rule that is in no table any more and has no name.
func (d *Datapath) RuleOf(number uint32) (Rule, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tables == nil {
		return Rule{}, false
	}
	rule, ok := d.tables.numbers.names[number&^ruleDenies]
	return rule, ok
}
