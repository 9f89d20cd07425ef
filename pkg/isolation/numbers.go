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
// its number for as long as a table names it, also over restarts: the map hits
// says whose they are. 0 is the default, which is no rule's.
type numbers struct {
	kernel *ebpf.Map
	of     map[edgenetRuleName]uint32
	// names are of the numbers that tables of this process use.
	names map[uint32]Rule
	users map[uint32]int
	// rests are unused numbers, the one that was used last at the end: it is given
	// out last, since somebody may still look at what it counted.
	rests   []uint32
	resting []bool
	groups  map[string]uint64
}

var errNoNumber = errors.New("all numbers for rules are taken")

func openNumbers(kernel *ebpf.Map) (*numbers, error) {
	n := &numbers{
		kernel: kernel, of: make(map[edgenetRuleName]uint32),
		names: make(map[uint32]Rule), users: make(map[uint32]int),
		resting: make([]bool, kernel.MaxEntries()), groups: make(map[string]uint64),
	}
	keys := make([]uint32, kernel.MaxEntries())
	values := make([]edgenetHit, len(keys))
	var cursor ebpf.MapBatchCursor
	got, err := kernel.BatchLookup(&cursor, keys, values, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil, fmt.Errorf("read map %s: %w", edgenetMapHits, err)
	}
	for i, hit := range values[:got] {
		if hit.Name != (edgenetRuleName{}) && keys[i] != 0 {
			n.of[hit.Name] = keys[i]
		}
	}
	taken := make(map[uint32]bool, len(n.of))
	for _, number := range n.of {
		taken[number] = true
	}
	// Those of the last process come last: its tables are in force.
	for number := uint32(1); number < kernel.MaxEntries(); number++ {
		if !taken[number] {
			n.rest(number)
		}
	}
	for number := range taken {
		n.rest(number)
	}
	return n, nil
}

// take numbers the rules of a table of a VPC, and counts it as a user of each.
func (n *numbers) take(vni uint32, rules []policy.RuleRef) ([]uint32, error) {
	taken := make([]uint32, len(rules))
	var fresh []uint32
	for i, ref := range rules {
		if ref.Group == "" {
			continue
		}
		rule := Rule{VNI: vni, Group: ref.Group, ID: ref.ID}
		name := n.keyOf(rule)
		number, ok := n.of[name]
		if !ok {
			if number, ok = n.next(); !ok {
				n.release(taken[:i])
				return nil, errors.Join(n.write(fresh), fmt.Errorf("%w: there are %d", errNoNumber, n.kernel.MaxEntries()-1))
			}
			n.of[name] = number
			fresh = append(fresh, number)
		}
		if n.users[number] == 0 {
			n.names[number] = rule
		}
		n.users[number]++
		taken[i] = number
	}
	if err := n.write(fresh); err != nil {
		n.release(taken)
		return nil, err
	}
	return taken, nil
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
			return number, true
		}
		n.disown(number)
		return number, true
	}
	return 0, false
}

// disown takes a number from a rule that another process knew.
func (n *numbers) disown(number uint32) {
	var hit edgenetHit
	if err := n.kernel.Lookup(number, &hit); err == nil && n.of[hit.Name] == number {
		delete(n.of, hit.Name)
	}
}

// write says in the kernel whose the numbers are, and begins to count anew.
func (n *numbers) write(fresh []uint32) error {
	if len(fresh) == 0 {
		return nil
	}
	hits := make([]edgenetHit, len(fresh))
	for i, number := range fresh {
		hits[i].Name = n.keyOf(n.names[number])
	}
	if err := putAll(n.kernel, fresh, hits); err != nil {
		return fmt.Errorf("write map %s: %w", edgenetMapHits, err)
	}
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
