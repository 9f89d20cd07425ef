package mesh

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// Limits of what a node says about itself.
const (
	maxLinks       = 16
	maxCarrier     = 63
	maxNodeVersion = 64
)

// nodeInfo is what a node says about itself in its record.
type nodeInfo struct {
	name         string
	links        []Link
	gossipPort   uint16
	peerPort     uint16
	version      string
	announcement []byte
}

// encode makes the payload of a node record.
func (n *nodeInfo) encode() ([]byte, error) {
	m := &wire.NodeInfo{
		Name: n.name, GossipPort: uint32(n.gossipPort), PeerPort: uint32(n.peerPort),
		Version: n.version, Announcement: n.announcement,
	}
	for _, l := range n.links {
		m.Links = append(m.Links, &wire.Link{Addr: l.Addr.AsSlice(), Carrier: l.Carrier})
	}
	return wire.Marshal(m)
}

// decodeNodeInfo takes the payload of a node record apart.
func decodeNodeInfo(b []byte) (*nodeInfo, error) {
	var m wire.NodeInfo
	if err := wire.Unmarshal(b, &m); err != nil {
		return nil, err
	}
	gossip, peer := m.GetGossipPort(), m.GetPeerPort()
	if gossip == 0 || gossip > 65535 || peer == 0 || peer > 65535 {
		return nil, errors.New("decode node record: a port is out of range")
	}
	n := &nodeInfo{
		name: m.GetName(), gossipPort: uint16(gossip), peerPort: uint16(peer),
		version: m.GetVersion(), announcement: m.GetAnnouncement(),
	}
	for _, l := range m.GetLinks() {
		a, ok := netip.AddrFromSlice(l.GetAddr())
		if !ok {
			return nil, errors.New("decode node record: a link is not an address")
		}
		n.links = append(n.links, Link{Addr: a, Carrier: l.GetCarrier()})
	}
	if err := checkLinks(n.links); err != nil {
		return nil, fmt.Errorf("decode node record: %w", err)
	}
	if len(n.version) > maxNodeVersion || !printable(n.version) || len(n.announcement) > MaxAnnouncement {
		return nil, errors.New("decode node record: its version or announcement is too long, or does not print")
	}
	return n, nil
}

// checkLinks tells whether links can be a node's.
func checkLinks(links []Link) error {
	if len(links) == 0 || len(links) > maxLinks {
		return fmt.Errorf("check links: %d links, want 1 to %d", len(links), maxLinks)
	}
	for i, l := range links {
		a := l.Addr
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Is4In6() || a.Zone() != "" {
			return fmt.Errorf("check links: %s is not the address of one host", a)
		}
		if len(l.Carrier) > maxCarrier {
			return fmt.Errorf("check links: the carrier of %s is longer than %d bytes", a, maxCarrier)
		}
		if !printable(l.Carrier) {
			return fmt.Errorf("check links: the carrier of %s does not print: %q", a, l.Carrier)
		}
		if slices.ContainsFunc(links[:i], func(o Link) bool { return o.Addr == a }) {
			return fmt.Errorf("check links: %s is there twice", a)
		}
	}
	return nil
}

// printable tells whether a text can be shown to people: no control characters
// reach their terminals.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c == utf8.RuneError || !unicode.IsPrint(c) })
}
