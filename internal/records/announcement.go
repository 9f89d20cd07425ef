package records

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// maxLacks is how much of Lacks is taken, in bytes.
const maxLacks = 500

// keyBytes is the length of an X25519 public key.
const keyBytes = 32

// DecodeAnnouncement decodes what a node announced; peers are not trusted to
// announce well, so an error means no tunnel to that node. What the announcement
// has besides is a newer version's: it takes nothing from what is known here.
func DecodeAnnouncement(b []byte) (*Announcement, error) {
	a := &Announcement{}
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, a); err != nil {
		return nil, fmt.Errorf("announcement: %w", err)
	}
	if a.Wireguard == nil && a.Ipsec == nil && a.GetLacks() == "" {
		return nil, errors.New("announcement: names no tunnel")
	}
	if w := a.GetWireguard(); w != nil && (len(w.GetPublicKey()) != keyBytes || !isPort(w.GetPort())) {
		return nil, fmt.Errorf("announcement: WireGuard key of %d bytes, port %d: want %d and 1 to 65535", len(w.GetPublicKey()), w.GetPort(), keyBytes)
	}
	if err := a.GetWireguard().checkNext(); err != nil {
		return nil, fmt.Errorf("announcement: %w", err)
	}
	if i := a.GetIpsec(); i != nil && !isPort(i.GetPort()) {
		return nil, fmt.Errorf("announcement: IPsec port %d: want 1 to 65535", i.GetPort())
	}
	all := tunnel.Drivers()
	a.Excluded = slices.DeleteFunc(a.GetExcluded(), func(name string) bool { return !slices.Contains(all, name) })
	if _, err := tunnel.ParseTechnology(a.GetLeaving()); err != nil {
		a.Leaving = "" // a newer version's
	}
	a.Lacks = strings.ToValidUTF8(a.GetLacks()[:min(len(a.GetLacks()), maxLacks)], "")
	return a, nil
}

// checkNext refuses a next key that could not be told from the current one.
func (w *WireGuard) checkNext() error {
	next := w.GetNextPublicKey()
	switch {
	case len(next) == 0:
		return nil
	case len(next) != keyBytes:
		return fmt.Errorf("next WireGuard key of %d bytes: want %d", len(next), keyBytes)
	case !tunnel.PublicKey(next).Follows(tunnel.PublicKey(w.GetPublicKey())):
		return errors.New("next WireGuard key has the same half as the current one")
	}
	return nil
}

func isPort(n uint32) bool { return n > 0 && n <= 65535 }

// Drivers are the names of the drivers that the node runs. One that is not known
// here counts as one of userspace: what it speaks is known by its key and port.
func (a *Announcement) Drivers() []string {
	var names []string
	if w := a.GetWireguard(); w != nil {
		names = append(names, known(w.GetDriver(), tunnel.WireGuardKernel, tunnel.WireGuardUserspace))
	}
	if i := a.GetIpsec(); i != nil {
		names = append(names, known(i.GetDriver(), tunnel.IPsecKernel, tunnel.IPsecUserspace))
	}
	return names
}

func known(name, kernel, userspace string) string {
	if name == kernel {
		return kernel
	}
	return userspace
}
