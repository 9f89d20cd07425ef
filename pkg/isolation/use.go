package isolation

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"sync"
	"time"
)

// uses are when tenants' packets last passed from or to other nodes, as sweeps
// have found it out.
type uses struct {
	mu sync.Mutex
	// last is by the nodes' /64s as they stand in packets, on the clock that
	// programs read.
	last map[uint64]time.Duration
}

// LastUse is when a packet of a flow last passed from or to another node, to the
// second or two in which flows are looked at; zero if none is known. Packets that
// no flow is kept of do not count.
func (d *Datapath) LastUse(node netip.Prefix) time.Time {
	d.uses.mu.Lock()
	last, known := d.uses.last[prefixWord(node)]
	d.uses.mu.Unlock()
	if !known {
		return time.Time{}
	}
	return d.now().Add(last - monotonic())
}

// note takes over what a piece of a sweep has found.
func (u *uses) note(found map[uint64]time.Duration) {
	if len(found) == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil {
		u.last = maps.Clone(found)
		return
	}
	for node, seen := range found {
		u.last[node] = max(u.last[node], seen)
	}
}

// nodeOf returns the node at the other side of a flow, as recall() in bpf/recall.h
// does; 0 if it is not known or not another one.
func nodeOf(key *edgenetFlowKey, value *edgenetFlow, own uint64) uint64 {
	if value.Place == 0 {
		return 0
	}
	node := value.Place ^ veil(key, value.Generation)
	// A flow that changes while it is read gives a node that there is none of.
	if uint32(node) == 0 || node == own || binary.BigEndian.Uint64(inPacket(node^own))>>40 != 0 {
		return 0
	}
	return node
}

// inPacket is a /64 as bytes of a packet.
func inPacket(node uint64) []byte { return binary.NativeEndian.AppendUint64(nil, node) }

// veil is veil() of bpf/recall.h.
func veil(key *edgenetFlowKey, generation uint64) uint64 {
	remote := key.Remote.Bytes[:]
	x := (binary.NativeEndian.Uint64(remote[:8]) ^ uint64(key.Endpoint)<<32) + generation
	x *= 0x9e3779b97f4a7c15
	x ^= x >> 32
	x = (x ^ binary.NativeEndian.Uint64(remote[8:])) * 0xbf58476d1ce4e5b9
	return x ^ x>>31
}
