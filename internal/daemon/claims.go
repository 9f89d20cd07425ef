package daemon

import (
	"errors"
	"fmt"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard"
)

// errOwnKey says that a node has announced a key of this one.
var errOwnKey = errors.New("announces this node's own tunnel key")

// errUnproved says that a node has announced a key, but not proved that it has it.
var errUnproved = errors.New("announces a tunnel key without proof that it has it")

// proofs remember which proofs of keys hold, as long as they are asked for: each
// takes a tenth of a millisecond.
type proofs struct {
	before, now map[shown]bool
}

// shown is what a node has announced for a key.
type shown struct {
	node mesh.NodeID
	key  tunnel.PublicKey
	text string
}

// begin forgets those that were not asked for since it was called last.
func (p *proofs) begin() { p.before, p.now = p.now, map[shown]bool{} }

// hold tells whether the owner of a key has said that it is of a node.
func (p *proofs) hold(node mesh.NodeID, key tunnel.PublicKey, text []byte) bool {
	one := shown{node: node, key: key, text: string(text)}
	holds, known := p.now[one]
	if !known {
		holds, known = p.before[one]
	}
	if !known {
		holds = wireguard.Proved(key, string(node), text)
	}
	if p.now == nil {
		p.begin()
	}
	p.now[one] = holds
	return holds
}

// claims are the keys that nodes have announced and proved to have, and who is
// believed. Nodes that have the same key, as one does that was copied, must not take
// one another's tunnel all the time.
type claims struct {
	want    map[mesh.NodeID]tunnel.Peer
	holders map[tunnel.PublicKey]mesh.Node
}

func newClaims() *claims {
	return &claims{want: map[mesh.NodeID]tunnel.Peer{}, holders: map[tunnel.PublicKey]mesh.Node{}}
}

// current enters a peer by the key that its node says it has.
func (s *claims) current(c *carrier, n mesh.Node, peer tunnel.Peer) error {
	err := s.take(c, n, peer.PublicKey)
	if k := c.keys[n.Prefix]; k.newest == peer.PublicKey && k.unmet() {
		peer.Keepalive = 0
	}
	if s.holders[peer.PublicKey].ID == n.ID {
		s.want[n.ID] = peer
	}
	return err
}

// next enters the key that a peer goes over to: for now the peer has both. All
// current keys have been entered before.
func (s *claims) next(c *carrier, n mesh.Node, next tunnel.PublicKey) error {
	peer, there := s.want[n.ID]
	if !there || next == (tunnel.PublicKey{}) {
		return nil
	}
	if c.isOwn(next) {
		return about(n, problemKey, fmt.Errorf("%w as its next one", errOwnKey))
	}
	err := s.take(c, n, next)
	if s.holders[next].ID != n.ID {
		return err
	}
	peer.Former = tunnel.Former{
		PublicKey: peer.PublicKey, Half: tunnel.Half(peer.Prefix, peer.PublicKey.Upper()), Address: nodeAddr(peer.Prefix), Keepalive: peer.Keepalive,
	}
	peer.PublicKey = next
	if k := c.keys[n.Prefix]; k.newest != next || !k.met {
		peer.Keepalive = 0 // its node would not understand it yet
	}
	s.want[n.ID] = peer
	return err
}

// take gives a key to a node. If another has it, it is for the one that the device
// has it for, or else for the one that came first.
func (s *claims) take(c *carrier, n mesh.Node, key tunnel.PublicKey) error {
	first, taken := s.holders[key]
	if !taken {
		s.holders[key] = n
		return nil
	}
	if c.holds(n.Prefix, key) {
		s.holders[key] = n
		s.lose(first, key)
	}
	return about(n, problemKey, fmt.Errorf("announces the tunnel key of node %s", first.Name))
}

// lose takes a key from a node: of two keys the other one stays.
func (s *claims) lose(n mesh.Node, key tunnel.PublicKey) {
	peer, there := s.want[n.ID]
	switch {
	case !there:
	case peer.PublicKey == key && peer.Former != (tunnel.Former{}):
		peer.PublicKey, peer.Keepalive, peer.Former = peer.Former.PublicKey, peer.Former.Keepalive, tunnel.Former{}
		s.want[n.ID] = peer
	case peer.PublicKey == key || peer.Former.PublicKey == key:
		delete(s.want, n.ID)
	}
}

// isOwn tells whether a key is this node's, or going to be.
func (c *carrier) isOwn(key tunnel.PublicKey) bool { return key == c.key || key == c.next }
