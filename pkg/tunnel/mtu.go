package tunnel

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// What WireGuard adds to a packet: the outer IP header (20 bytes, or 40), UDP's
// 8, and 32 of its own transport message: type and receiver 8, counter 8,
// Poly1305 tag 16 (J. Donenfeld, "WireGuard: Next Generation Kernel Network
// Tunnel", section 5.4.6).
const (
	overhead4 = 20 + 8 + 32
	overhead6 = 40 + 8 + 32
)

// MinMTU is the least MTU that IPv6 works over, in bytes (RFC 8200, section 5).
const MinMTU = 1280

// MTU returns how large a packet into the tunnel may be, in bytes, for the
// outer packet to fit the underlay's MTU on the way to remote. It is never less
// than MinMTU: the overlay is IPv6, so over a smaller underlay the outer packets
// are fragmented instead.
func MTU(underlayMTU int, remote netip.Addr) int {
	return max(Room(underlayMTU, remote), MinMTU)
}

// Room is how large such a packet may be without the outer one being fragmented:
// MTU, or less than MinMTU.
func Room(underlayMTU int, remote netip.Addr) int {
	overhead := overhead6
	if remote.Unmap().Is4() {
		overhead = overhead4
	}
	return underlayMTU - overhead
}

// What ESP in UDP adds, besides the outer IP header: UDP's 8, SPI and sequence
// number 8, IV 8 and ICV 16 of AES-GCM and ChaCha20-Poly1305 alike (RFC 4106, RFC
// 7634); and a trailer of 2 behind padding to multiples of 4 (RFC 4303, section
// 2.4).
const (
	overheadESP = 8 + 8 + 8 + 16
	trailerESP  = 2
	alignESP    = 4
)

// ESPMTU is MTU for IPsec.
func ESPMTU(underlayMTU int, remote netip.Addr) int {
	return max(ESPRoom(underlayMTU, remote), MinMTU)
}

// ESPRoom is Room for IPsec.
func ESPRoom(underlayMTU int, remote netip.Addr) int {
	outer := 40
	if remote.Unmap().Is4() {
		outer = 20
	}
	whole := underlayMTU - outer - overheadESP
	return whole - whole%alignESP - trailerESP
}

// UnderlayMTU returns the MTU, in bytes, of the network device that carries the
// local address.
func UnderlayMTU(local netip.Addr) (int, error) {
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	// A list that changed while it was read may still have the address.
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return 0, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok || ip.Unmap() != local.Unmap().WithZone("") {
			continue
		}
		link, err := netlink.LinkByIndex(a.LinkIndex)
		if err != nil {
			return 0, fmt.Errorf("find device of %s: %w", local, err)
		}
		return link.Attrs().MTU, nil
	}
	return 0, fmt.Errorf("find device of %s: no device carries this address", local)
}
