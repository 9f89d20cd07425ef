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
	// denied are those that memberlist has thrown out of late.
	denied map[NodeID]*denial
	// roster has the members, and the denied ones that have proved to be there.
	roster roster
	// known tells whether there is a node of that id.
	known func(NodeID) bool
	// evicted tells whether that node was taken out.
	evicted func(NodeID) bool
	changed func()
	tally   *tally
	// standings say since when nodes are not alive.
	standings standings
	// joined is called with the nodes that become members.
	joined func(NodeID)
	// heard is called with the nodes whose answers to memberlist's probes come.
	heard func(NodeID)
}

// minUnknownMembers is how many members may be there at least whose records have not
// come yet, as many may join at once. More may in a mesh of more, as many as are known:
// anybody with the gossip key can make members up, and what is gossiped goes to them too.
// One that is refused is found when its record comes, as all are that are missing.
const minUnknownMembers = 64

// newMembers returns the members of a mesh, none yet.
func newMembers(m *Mesh, changed func()) *members {
	return &members{
		alive: make(map[NodeID]string), denied: make(map[NodeID]*denial), changed: changed, tally: newTally(), heard: func(NodeID) {},
		joined: m.replica.lapsed.remove,
		known: func(id NodeID) bool {
			e := m.replica.table.get(ref{KindNode, string(id)})
			return e != nil && !e.Deleted
		},
		evicted: m.evicts,
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
	now := time.Now()
	ms.mu.Lock()
	there, proved := ms.present(id, now)
	ms.mu.Unlock()
	if !there {
		return StateDead
	}
	if verdict := ms.tally.verdict(id, now); proved || verdict != StateAlive {
		return verdict
	}
	return StateSuspect
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
	now := time.Now()
	ids := slices.Collect(maps.Keys(ms.alive))
	for id := range ms.denied {
		if there, _ := ms.present(id, now); there {
			ids = append(ids, id)
		}
	}
	ms.mu.Unlock()
	ids = slices.DeleteFunc(ids, func(id NodeID) bool {
		return id == self || !ms.known(id) || ms.tally.verdict(id, now) == StateDead
	})
	return append(ids, self)
}

// forget drops a member that was evicted: memberlist goes on to think that it is
// there until its probes fail.
func (ms *members) forget(id NodeID) {
	ms.mu.Lock()
	delete(ms.alive, id)
	ms.roster.remove(id)
	ms.mu.Unlock()
	ms.changed()
}

// NotifyJoin is memberlist's word that a member is there.
func (ms *members) NotifyJoin(n *memberlist.Node) {
	ms.mu.Lock()
	if ms.evicted(NodeID(n.Name)) { // It was evicted since NotifyAlive.
		ms.mu.Unlock()
		return
	}
	ms.alive[NodeID(n.Name)] = n.Address()
	delete(ms.denied, NodeID(n.Name))
	ms.roster.add(NodeID(n.Name))
	ms.mu.Unlock()
	ms.tally.acquit(NodeID(n.Name))
	ms.joined(NodeID(n.Name))
	ms.changed()
}

// NotifyUpdate is memberlist's word that a member's data changed: we use none.
func (ms *members) NotifyUpdate(*memberlist.Node) {}

// NotifyLeave is memberlist's word that a member is dead or has left. Which of
// the two is said by the node's own record; that it is one at all, by the beats that
// it does not give when it is asked for them.
func (ms *members) NotifyLeave(n *memberlist.Node) {
	ms.mu.Lock()
	delete(ms.alive, NodeID(n.Name))
	ms.deny(NodeID(n.Name), time.Now())
	ms.roster.remove(NodeID(n.Name))
	ms.mu.Unlock()
	ms.changed()
}

// NotifyAlive refuses members that cannot be nodes.
func (ms *members) NotifyAlive(n *memberlist.Node) error {
	if !NodeID(n.Name).Valid() {
		return fmt.Errorf("accept member %q: not a node id", n.Name)
	}
	if ms.evicted(NodeID(n.Name)) {
		return fmt.Errorf("accept member %s: %w", n.Name, ErrEvicted)
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
	return unknown < max(minUnknownMembers, len(ms.alive)-unknown)
}
