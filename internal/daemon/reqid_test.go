package daemon

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
)

// lister is a driver that only tells its peers.
type lister struct {
	tunnel.Driver

	peers map[tunnel.PublicKey]tunnel.PeerStatus
	err   error
}

func (l *lister) Peers(context.Context) (map[tunnel.PublicKey]tunnel.PeerStatus, error) {
	return l.peers, l.err
}

// A node's packets are known by its request id by whatever packets to it go, from
// the round on that made it a peer.
func TestTheRequestIDOfANodeIsThatOfItsSAs(t *testing.T) {
	const id = mesh.NodeID("abc")
	prefix := netip.MustParsePrefix("fd12:340b::/64")
	own := tunnel.PeerStatus{Peer: tunnel.Peer{Prefix: prefix}, ReqID: 7}
	told := &lister{peers: map[tunnel.PublicKey]tunnel.PeerStatus{{1}: own}}
	first := &carrier{technology: tunnel.WireGuard, peers: map[netip.Prefix]tunnel.PeerStatus{prefix: {}}}
	second := &carrier{technology: tunnel.IPsec, driver: told, down: true}
	u := &tunnels{carriers: []*carrier{first, second}}
	want := func(when string, want uint32) {
		t.Helper()
		if got := u.reqID(id, prefix); got != want {
			t.Errorf("%s: request id %d, want %d", when, got, want)
		}
	}
	want("without IPsec", 0)
	second.down, second.peers, second.added = false, map[netip.Prefix]tunnel.PeerStatus{prefix: {}}, true
	if err := u.identify(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("as soon as it is a peer", 7)
	u.state.peers = map[mesh.NodeID]peerState{id: {reqID: 7}}
	first.peers = nil
	second.peers[prefix] = tunnel.PeerStatus{ReqID: 8}
	want("after it has become another", 8)
	second.peers = nil
	want("while the device cannot be looked at", 7)
	first.peers, second.peers = map[netip.Prefix]tunnel.PeerStatus{prefix: {}}, map[netip.Prefix]tunnel.PeerStatus{}
	want("when it is no peer any more", 0)
}

func TestPeersThatCannotBeListedAgainStay(t *testing.T) {
	cold := errors.New("too cold")
	c := &carrier{technology: tunnel.IPsec, driver: &lister{err: cold}, added: true, peers: map[netip.Prefix]tunnel.PeerStatus{{}: {}}}
	u := &tunnels{carriers: []*carrier{c}}
	if err := u.identify(t.Context()); !errors.Is(err, cold) || len(c.peers) != 1 {
		t.Errorf("error %v, peers %v", err, c.peers)
	}
	if err := u.identify(t.Context()); err != nil {
		t.Errorf("they are listed without reason: %v", err)
	}
}
