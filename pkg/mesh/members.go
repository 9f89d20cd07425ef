package mesh

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// members keeps what memberlist says of who is alive, and what witnesses say of
// who is silent. The former proves nothing: a node exists by its verified record
// only, and this gives that its state.
type members struct {
	mu sync.Mutex
	// alive has the members with where they gossip, by memberlist's word.
	alive map[NodeID]string
	// roster has the same members.
	roster roster
	// known tells whether there is a node of that id.
	known   func(NodeID) bool
	changed func()
	tally   *tally
	// joined is called with the nodes that become members.
	joined func(NodeID)
	// heard is called with the nodes whose answers to memberlist's probes come.
	heard func(NodeID)
}

// maxUnknownMembers is how many members may be there whose records have not
// come yet: many may join at once, and anybody with the gossip key can make
// members up.
const maxUnknownMembers = 1024

// newMembers returns the members of a mesh, none yet.
func newMembers(m *Mesh, changed func()) *members {
	return &members{
		alive: make(map[NodeID]string), changed: changed, tally: newTally(), heard: func(NodeID) {},
		joined: m.replica.lapsed.remove,
		known: func(id NodeID) bool {
			e := m.replica.table.get(ref{KindNode, string(id)})
			return e != nil && !e.Deleted
		},
	}
}

var (
	_ memberlist.EventDelegate = (*members)(nil)
	_ memberlist.AliveDelegate = (*members)(nil)
	_ memberlist.PingDelegate  = (*members)(nil)
)

// state returns the state of another node that has not left. One that was never
// a member is dead.
func (ms *members) state(id NodeID) State {
	ms.mu.Lock()
	_, ok := ms.alive[id]
	ms.mu.Unlock()
	if !ok {
		return StateDead
	}
	return ms.tally.verdict(id, time.Now())
}

// addr returns where a member gossips, by memberlist's word: that of anybody with
// the gossip key.
func (ms *members) addr(id NodeID) (string, bool) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	addr, ok := ms.alive[id]
	return addr, ok
}

// there returns the nodes that can be witnesses, with this one.
func (ms *members) there(self NodeID) []NodeID {
	ms.mu.Lock()
	ids := slices.Collect(maps.Keys(ms.alive))
	ms.mu.Unlock()
	now := time.Now()
	ids = slices.DeleteFunc(ids, func(id NodeID) bool {
		return id == self || !ms.known(id) || ms.tally.verdict(id, now) == StateDead
	})
	return append(ids, self)
}

// NotifyJoin is memberlist's word that a member is there.
func (ms *members) NotifyJoin(n *memberlist.Node) {
	ms.mu.Lock()
	ms.alive[NodeID(n.Name)] = n.Address()
	ms.roster.add(NodeID(n.Name))
	ms.mu.Unlock()
	ms.tally.acquit(NodeID(n.Name))
	ms.joined(NodeID(n.Name))
	ms.changed()
}

// NotifyUpdate is memberlist's word that a member's data changed: we use none.
func (ms *members) NotifyUpdate(*memberlist.Node) {}

// NotifyLeave is memberlist's word that a member is dead or has left. Which of
// the two is said by the node's own record.
func (ms *members) NotifyLeave(n *memberlist.Node) {
	ms.mu.Lock()
	delete(ms.alive, NodeID(n.Name))
	ms.roster.remove(NodeID(n.Name))
	ms.mu.Unlock()
	ms.changed()
}

// NotifyAlive refuses members that cannot be nodes.
func (ms *members) NotifyAlive(n *memberlist.Node) error {
	if !NodeID(n.Name).Valid() {
		return fmt.Errorf("accept member %q: not a node id", n.Name)
	}
	if !ms.room(NodeID(n.Name)) {
		return fmt.Errorf("accept member %s: too many members are no known nodes", n.Name)
	}
	return nil
}

// AckPayload adds nothing to answers.
func (ms *members) AckPayload() []byte { return nil }

// NotifyPingComplete is memberlist's word that a probe was answered.
func (ms *members) NotifyPingComplete(n *memberlist.Node, _ time.Duration, _ []byte) {
	ms.heard(NodeID(n.Name))
	if ms.tally.acquit(NodeID(n.Name)) {
		ms.changed()
	}
}

// room tells whether a member is there, is a known node, or can be one more
// that is not.
func (ms *members) room(id NodeID) bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if _, ok := ms.alive[id]; ok || ms.known(id) {
		return true
	}
	unknown := 0
	for id := range ms.alive {
		if !ms.known(id) {
			unknown++
		}
	}
	return unknown < maxUnknownMembers
}
