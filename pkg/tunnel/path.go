package tunnel

import (
	"errors"
	"net/netip"
)

// ErrNoPath says that no local link can reach any of the peer's.
var ErrNoPath = errors.New("no common address family")

// Link is one underlay address of a node.
type Link struct {
	Addr netip.Addr
	// Carrier labels the network that the address belongs to. Links of one
	// carrier reach each other without crossing an exchange, which is where the
	// public internet loses most. Empty is unknown, and equals nothing.
	Carrier string
}

// ChooseLinks picks the pair of underlay addresses that a tunnel should run
// over: of one address family; of the same carrier if there is such a pair; and
// among those the earliest local link, then the earliest remote one. The order
// of links is the owner's preference. Both nodes choose for themselves and may
// choose differently, which WireGuard's roaming then settles.
//
// It returns ErrNoPath when no pair has a common address family.
func ChooseLinks(local, remote []Link) (localAddr, remoteAddr netip.Addr, err error) {
	if l, r, ok := firstPair(local, remote, sameCarrier); ok {
		return l, r, nil
	}
	if l, r, ok := firstPair(local, remote, anyCarrier); ok {
		return l, r, nil
	}
	return netip.Addr{}, netip.Addr{}, ErrNoPath
}

func sameCarrier(a, b Link) bool { return a.Carrier != "" && a.Carrier == b.Carrier }

func anyCarrier(_, _ Link) bool { return true }

func firstPair(local, remote []Link, fits func(a, b Link) bool) (l, r netip.Addr, ok bool) {
	for _, a := range local {
		for _, b := range remote {
			if sameFamily(a.Addr, b.Addr) && fits(a, b) {
				return a.Addr.Unmap(), b.Addr.Unmap(), true
			}
		}
	}
	return netip.Addr{}, netip.Addr{}, false
}

func sameFamily(a, b netip.Addr) bool {
	return a.IsValid() && b.IsValid() && a.Unmap().Is4() == b.Unmap().Is4()
}
