package mesh

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
)

// PrivateKey is what this node is, for what has to prove it besides the mesh. It
// prints like any slice: it has to be wrapped at once.
func (m *Mesh) PrivateKey() ed25519.PrivateKey { return m.key.key }

// SetAnnouncement sets what others shall know of this node, at most
// MaxAnnouncement bytes. It holds over Leave and Join, not over Close.
func (m *Mesh) SetAnnouncement(announcement []byte) error {
	if len(announcement) > MaxAnnouncement {
		return fmt.Errorf("set announcement: %d bytes, more than %d", len(announcement), MaxAnnouncement)
	}
	m.mu.Lock()
	m.announcement, m.announced = bytes.Clone(announcement), true
	m.mu.Unlock()
	if err := m.ensureSelf(); err != nil {
		return fmt.Errorf("set announcement: %w", err)
	}
	return nil
}

// ensureSelf signs this node's record anew if it does not say what is true, or is
// old.
func (m *Mesh) ensureSelf() error {
	// What was read first must not be written last.
	m.signing.Lock()
	defer m.signing.Unlock()
	m.mu.RLock()
	in, leaving := m.member, m.leaving
	announcement, announced := m.announcement, m.announced
	m.mu.RUnlock()
	if in == nil || leaving || in.evictions.refuse(in.self) {
		return nil
	}
	old := m.replica.table.get(ref{KindNode, string(m.id)})
	if !announced && old != nil && old.info() != nil {
		announcement = old.info().announcement // What an earlier run announced.
	}
	info := &nodeInfo{
		name: in.name(), links: m.cfg.Links, gossipPort: m.cfg.GossipPort, peerPort: m.cfg.PeerPort,
		version: m.cfg.Version, announcement: announcement,
	}
	payload, err := info.encode()
	if err != nil {
		return err
	}
	if old != nil && !old.Deleted && bytes.Equal(old.Payload, payload) &&
		bytes.Equal(old.credential().der, in.self.der) && m.replica.fresh(old) {
		return nil
	}
	e, err := m.replica.put(Record{Kind: KindNode, Key: string(m.id), Payload: payload}, in, m.key)
	if err != nil {
		return fmt.Errorf("write own node record: %w", err)
	}
	m.publish([]*entry{e})
	return nil
}
