package tunneltest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// ErrDropped says that a tunnel let a packet not through.
var ErrDropped = errors.New("packet dropped")

// Network connects in-memory tunnels. The zero value is ready, and it may be
// used by several goroutines.
type Network struct {
	mu    sync.Mutex
	nodes map[tunnel.PublicKey]*node
}

// node is what stays in force when a driver's program ends.
type node struct {
	device tunnel.Device
	up     bool
	peers  map[tunnel.PublicKey]tunnel.PeerStatus
	writes int
}

// Memory is an in-memory tunnel.Driver.
type Memory struct {
	network *Network
	key     tunnel.PublicKey
}

var _ tunnel.Driver = (*Memory)(nil)

// Driver returns a driver of the node with the key. Every driver of a key
// drives the same device, so a second one adopts what the first made.
func (n *Network) Driver(key tunnel.PublicKey) *Memory {
	return &Memory{network: n, key: key}
}

// Send takes a packet of size bytes from the device of a key, with the rules
// of WireGuard: the destination chooses the peer, and the receiver drops a
// source that is not that peer's. It returns the key that received it, or an
// error that wraps ErrDropped.
func (n *Network) Send(from tunnel.PublicKey, src, dst netip.Addr, size int) (tunnel.PublicKey, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	sender := n.node(from)
	to, ok := sender.owner(dst)
	if !ok {
		return to, fmt.Errorf("%w: no peer for %s", ErrDropped, dst)
	}
	receiver := n.node(to)
	if !receiver.up {
		return to, fmt.Errorf("%w: peer of %s is down", ErrDropped, dst)
	}
	back, known := receiver.peers[from]
	if !known {
		return to, fmt.Errorf("%w: sender is not a peer", ErrDropped)
	}
	there := sender.peers[to]
	if !there.Live || !back.Live {
		there.Live, there.LastHandshake = true, time.Now()
		back.Live, back.LastHandshake = true, there.LastHandshake
	}
	there.TxBytes += uint64(size)
	sender.peers[to], receiver.peers[from] = there, back
	if owner, ok := receiver.owner(src); !ok || owner != from {
		return to, fmt.Errorf("%w: source %s is not the sender's", ErrDropped, src)
	}
	back.RxBytes += uint64(size)
	receiver.peers[from] = back
	return to, nil
}

// Writes returns how often the device of a key was changed.
func (n *Network) Writes(key tunnel.PublicKey) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.node(key).writes
}

// node must be called with the lock held.
func (n *Network) node(key tunnel.PublicKey) *node {
	if n.nodes == nil {
		n.nodes = make(map[tunnel.PublicKey]*node)
	}
	if n.nodes[key] == nil {
		n.nodes[key] = &node{peers: make(map[tunnel.PublicKey]tunnel.PeerStatus)}
	}
	return n.nodes[key]
}

func (n *node) owner(addr netip.Addr) (tunnel.PublicKey, bool) {
	if !n.up {
		return tunnel.PublicKey{}, false
	}
	for key, p := range n.peers {
		if p.Prefix.Contains(addr) {
			return key, true
		}
	}
	return tunnel.PublicKey{}, false
}

// Name implements tunnel.Driver.
func (m *Memory) Name() string { return "memory" }

// Up implements tunnel.Driver.
func (m *Memory) Up(_ context.Context, want tunnel.Device) (tunnel.Device, error) {
	m.network.mu.Lock()
	defer m.network.mu.Unlock()
	n := m.network.node(m.key)
	if !n.up || n.device != want {
		n.up, n.device = true, want
		n.writes++
	}
	return want, nil
}

// Key is what the device is known by.
func (m *Memory) Key() tunnel.PublicKey { return m.key }

// IsUp tells whether the device is there.
func (m *Memory) IsUp() bool {
	m.network.mu.Lock()
	defer m.network.mu.Unlock()
	return m.network.node(m.key).up
}

// Peers implements tunnel.Driver.
func (m *Memory) Peers(context.Context) (map[tunnel.PublicKey]tunnel.PeerStatus, error) {
	m.network.mu.Lock()
	defer m.network.mu.Unlock()
	n := m.network.node(m.key)
	if !n.up {
		return nil, errors.New("list peers: no device")
	}
	return maps.Clone(n.peers), nil
}

// Put implements tunnel.Driver. Endpoints do not roam in memory.
func (m *Memory) Put(_ context.Context, want tunnel.Peer) error {
	m.network.mu.Lock()
	defer m.network.mu.Unlock()
	n := m.network.node(m.key)
	if !n.up {
		return errors.New("put peer: no device")
	}
	have, ok := n.peers[want.PublicKey]
	if ok && have.Peer == want {
		return nil
	}
	for key, p := range n.peers {
		if key != want.PublicKey && p.Prefix == want.Prefix {
			p.Prefix = netip.Prefix{}
			n.peers[key] = p
		}
	}
	have.Peer = want
	n.peers[want.PublicKey] = have
	n.writes++
	return nil
}

// Delete implements tunnel.Driver.
func (m *Memory) Delete(_ context.Context, key tunnel.PublicKey) error {
	m.network.mu.Lock()
	defer m.network.mu.Unlock()
	n := m.network.node(m.key)
	if _, ok := n.peers[key]; ok {
		delete(n.peers, key)
		n.writes++
	}
	return nil
}

// Down implements tunnel.Driver.
func (m *Memory) Down(context.Context) error {
	m.network.mu.Lock()
	defer m.network.mu.Unlock()
	n := m.network.node(m.key)
	if n.up {
		n.writes++
	}
	n.up = false
	clear(n.peers)
	return nil
}

// Crash forgets the peers, as a userspace process that dies does.
func (m *Memory) Crash() {
	m.network.mu.Lock()
	defer m.network.mu.Unlock()
	clear(m.network.node(m.key).peers)
}
