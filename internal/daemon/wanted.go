package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
)

// deviceName is unique on a machine that runs several daemons; kind tells those of
// a daemon apart.
func deviceName(id mesh.NodeID, kind string) string { return "en" + string(id[:10]) + kind }

// announce says what this node encrypts with, or why with nothing.
func (t *tunnels) announce(now time.Time, without error) error {
	a := records.Announcement{Excluded: t.excluded, IdleMs: proto.Uint64(uint64(t.idle.Milliseconds()))}
	if without != nil {
		a.Lacks = clip(without.Error())
	} else {
		a.Leaving = string(t.leave(now))
	}
	for _, c := range t.carriers {
		switch {
		case without != nil || c.retired || c.device.Name == "" && (c.failed || c.lacking(now) != nil):
		case c.technology == tunnel.WireGuard:
			a.Wireguard = &records.WireGuard{PublicKey: c.key[:], Proof: c.proof, Port: uint32(c.port), Driver: c.driver.Name()}
			if c.next != (tunnel.PublicKey{}) {
				a.Wireguard.NextPublicKey, a.Wireguard.NextProof = c.next[:], c.nextProof
			}
		case c.technology == tunnel.IPsec:
			a.Ipsec = &records.IPsec{Port: uint32(c.port), Driver: c.driver.Name()}
		}
	}
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(&a)
	if err != nil {
		return fmt.Errorf("encode announcement: %w", err)
	}
	if err := t.mesh.SetAnnouncement(payload); err != nil {
		return fmt.Errorf("announce tunnel: %w", err)
	}
	return nil
}

// wantPeers has a peer for each node that can be reached. A node that cannot is
// reported and stops no other.
func (t *tunnels) wantPeers(nodes []mesh.Node, choices map[mesh.NodeID]choice) (map[mesh.NodeID]tunnel.Peer, error) {
	claimed := newClaims()
	t.proofs.begin()
	var problems []error
	for _, n := range nodes {
		c, there := choices[n.ID]
		if !there || errors.Is(c.err, errSilent) || errors.Is(c.err, errUnneeded) {
			continue
		}
		peer, err := t.wantPeer(n, c)
		if err != nil {
			problems = append(problems, about(n, c.kindOf(err), err))
			continue
		}
		problems = append(problems, claimed.current(t.carrier(c.Technology), n, peer))
	}
	for _, n := range nodes {
		c := choices[n.ID]
		next := nextKey(c)
		if c.Technology != tunnel.WireGuard || next == (tunnel.PublicKey{}) {
			continue
		}
		if !t.proofs.hold(n.ID, next, c.announced.GetWireguard().GetNextProof()) {
			problems = append(problems, about(n, problemKey, fmt.Errorf("%w, its next one", errUnproved)))
			continue
		}
		problems = append(problems, claimed.next(t.carrier(c.Technology), n, next))
	}
	return claimed.want, errors.Join(problems...)
}

func (t *tunnels) wantPeer(n mesh.Node, c choice) (tunnel.Peer, error) {
	if c.err != nil {
		return tunnel.Peer{}, c.err
	}
	var key tunnel.PublicKey
	var port uint32
	if c.Technology == tunnel.IPsec {
		key, port = tunnel.PublicKey(n.PublicKey), c.announced.GetIpsec().GetPort()
	} else {
		key, port = tunnel.PublicKey(c.announced.GetWireguard().GetPublicKey()), c.announced.GetWireguard().GetPort()
	}
	if own := t.carrier(c.Technology); own == nil || own.isOwn(key) {
		return tunnel.Peer{}, errOwnKey
	}
	if c.Technology == tunnel.WireGuard && !t.proofs.hold(n.ID, key, c.announced.GetWireguard().GetProof()) {
		return tunnel.Peer{}, errUnproved
	}
	local := make([]tunnel.Link, 0, len(t.links))
	for _, l := range t.links {
		local = append(local, tunnel.Link{Addr: l.Addr, Carrier: l.Carrier})
	}
	remote := make([]tunnel.Link, 0, len(n.Links))
	for _, l := range n.Links {
		remote = append(remote, tunnel.Link{Addr: l.Addr, Carrier: l.Carrier})
	}
	_, addr, err := tunnel.ChooseLinks(local, remote)
	if err != nil {
		return tunnel.Peer{}, fmt.Errorf("choose a path: %w", err)
	}
	return tunnel.Peer{PublicKey: key, Endpoint: netip.AddrPortFrom(addr, uint16(port)), Prefix: n.Prefix, Keepalive: keepalive}, nil
}

// nodeAddr is a node's own address in its /64.
func nodeAddr(p netip.Prefix) netip.Addr { return p.Addr().Next() }
