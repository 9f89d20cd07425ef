package records

import "fmt"

// DecodeAnnouncement decodes what a node announced; peers are not trusted to
// announce well, so an error means no tunnel to that node.
func DecodeAnnouncement(b []byte) (*Announcement, error) {
	a, err := decode(b, &Announcement{})
	if err != nil {
		return nil, fmt.Errorf("announcement: %w", err)
	}
	w := a.GetWireguard()
	if w == nil {
		return nil, fmt.Errorf("announcement: names no tunnel")
	}
	if len(w.GetPublicKey()) != 32 || w.GetPort() == 0 || w.GetPort() > 65535 {
		return nil, fmt.Errorf("announcement: WireGuard key of %d bytes, port %d: want 32 and 1 to 65535", len(w.GetPublicKey()), w.GetPort())
	}
	return a, nil
}
