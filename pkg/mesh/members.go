package mesh

import (
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// members keeps what memberlist says of who is alive. It proves nothing: a node
// exists by its verified record only, and this gives that its state.
type members struct {
	mu sync.Mutex
	// alive has the members that are not dead; its value tells whether this
	// node's own probe of it has failed.
	alive map[NodeID]suspicion
	// known tells whether there is a node of that id.
	known   func(NodeID) bool
	changed func()
}

// maxUnknownMembers is how many members may be there whose records have not
// come yet: many may join at once, and anybody with the gossip key can make
// members up.
const maxUnknownMembers = 1024

// newMembers returns the members of a mesh, none yet.
func newMembers(m *Mesh, changed func()) *members {
	return &members{
		alive: make(map[NodeID]suspicion), changed: changed,
		known: func(id NodeID) bool { return m.replica.table.get(ref{KindNode, string(id)}) != nil },
	}
}

// suspicion says how the last probe of a member ended.
type suspicion uint8

const (
	unsuspected suspicion = iota
	suspected
)

var (
	_ memberlist.EventDelegate = (*members)(nil)
	_ memberlist.AliveDelegate = (*members)(nil)
	_ memberlist.PingDelegate  = (*members)(nil)
)

// state returns the state of another node that has not left. One that was never
// a member is dead.
func (ms *members) state(id NodeID) State {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	s, ok := ms.alive[id]
	switch {
	case !ok:
		return StateDead
	case s == suspected:
		return StateSuspect
	default:
		return StateAlive
	}
}

// set notes the state of a member and tells of changes.
func (ms *members) set(name string, s suspicion) {
	ms.mu.Lock()
	old, ok := ms.alive[NodeID(name)]
	ms.alive[NodeID(name)] = s
	ms.mu.Unlock()
	if !ok || old != s {
		ms.changed()
	}
}

// mark notes how the last probe of a member went, if it is one.
func (ms *members) mark(name string, s suspicion) {
	ms.mu.Lock()
	old, ok := ms.alive[NodeID(name)]
	if ok {
		ms.alive[NodeID(name)] = s
	}
	ms.mu.Unlock()
	if ok && old != s {
		ms.changed()
	}
}

// NotifyJoin is memberlist's word that a member is there.
func (ms *members) NotifyJoin(n *memberlist.Node) { ms.set(n.Name, unsuspected) }

// NotifyUpdate is memberlist's word that a member's data changed: we use none.
func (ms *members) NotifyUpdate(n *memberlist.Node) { ms.set(n.Name, unsuspected) }

// NotifyLeave is memberlist's word that a member is dead or has left. Which of
// the two is said by the node's own record.
func (ms *members) NotifyLeave(n *memberlist.Node) {
	ms.mu.Lock()
	delete(ms.alive, NodeID(n.Name))
	ms.mu.Unlock()
	ms.changed()
}

// NotifyAlive refuses members that cannot be nodes. Someone's word that a
// member is alive also ends our suspicion: it is how a member refutes it.
func (ms *members) NotifyAlive(n *memberlist.Node) error {
	if !NodeID(n.Name).Valid() {
		return fmt.Errorf("accept member %q: not a node id", n.Name)
	}
	if !ms.room(NodeID(n.Name)) {
		return fmt.Errorf("accept member %s: too many members are no known nodes", n.Name)
	}
	ms.mark(n.Name, unsuspected)
	return nil
}

// AckPayload adds nothing to answers.
func (ms *members) AckPayload() []byte { return nil }

// NotifyPingComplete is memberlist's word that a probe was answered.
func (ms *members) NotifyPingComplete(n *memberlist.Node, _ time.Duration, _ []byte) {
	ms.mark(n.Name, unsuspected)
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
