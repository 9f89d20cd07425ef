package wireguard

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
)

// snapshotAge is how long a snapshot serves. Reading costs as much as there are
// peers, so a Put of each of a thousand peers must not read for each; and within
// a second nothing but this driver changes what Put compares.
const snapshotAge = time.Second

// snapshot is what the device was seen to be, kept up with what the driver
// changed since.
type snapshot struct {
	at         time.Time
	privateKey wgtypes.Key
	listenPort int
	peers      map[tunnel.PublicKey]peer
}

// peer is a wgtypes.Peer in comparable terms.
type peer struct {
	endpoint   netip.AddrPort
	allowed    []netip.Prefix
	keepalive  time.Duration
	handshake  time.Time
	rxBytes    uint64
	txBytes    uint64
	configured bool // false is the zero peer: there is none
}

func newSnapshot(dev *wgtypes.Device, at time.Time) *snapshot {
	s := &snapshot{
		at:         at,
		privateKey: dev.PrivateKey,
		listenPort: dev.ListenPort,
		peers:      make(map[tunnel.PublicKey]peer, len(dev.Peers)),
	}
	for _, p := range dev.Peers {
		s.peers[tunnel.PublicKey(p.PublicKey)] = peer{
			endpoint:   addrPort(p.Endpoint),
			allowed:    prefixes(p.AllowedIPs),
			keepalive:  p.PersistentKeepaliveInterval,
			handshake:  p.LastHandshakeTime,
			rxBytes:    uint64(max(p.ReceiveBytes, 0)),
			txBytes:    uint64(max(p.TransmitBytes, 0)),
			configured: true,
		}
	}
	return s
}

func (s *snapshot) fresh(now time.Time) bool {
	age := now.Sub(s.at)
	return age >= 0 && age < snapshotAge
}

// put notes a change that was made. An allowed prefix belongs to one peer: the
// device takes it from the one that had it.
func (s *snapshot) put(key tunnel.PublicKey, change wgtypes.PeerConfig) {
	if change.Remove {
		delete(s.peers, key)
		return
	}
	p := s.peers[key]
	p.configured = true
	if change.Endpoint != nil {
		p.endpoint = addrPort(change.Endpoint)
	}
	if change.PersistentKeepaliveInterval != nil {
		p.keepalive = *change.PersistentKeepaliveInterval
	}
	added := prefixes(change.AllowedIPs)
	if change.ReplaceAllowedIPs {
		p.allowed = nil
	}
	p.allowed = append(slices.Clip(p.allowed), added...)
	s.takeFromOthers(key, added)
	s.peers[key] = p
}

func (s *snapshot) takeFromOthers(key tunnel.PublicKey, taken []netip.Prefix) {
	for other, p := range s.peers {
		if other == key || !slices.ContainsFunc(p.allowed, func(a netip.Prefix) bool {
			return slices.Contains(taken, a)
		}) {
			continue
		}
		p.allowed = slices.DeleteFunc(slices.Clone(p.allowed), func(a netip.Prefix) bool {
			return slices.Contains(taken, a)
		})
		s.peers[other] = p
	}
}

// live says whether there is a session: a handshake that is not too old.
func (p peer) live(now time.Time) bool {
	return !p.handshake.IsZero() && now.Sub(p.handshake) < sessionAge
}

// status returns a peer in the interface's terms. A peer without an allowed prefix
// that is the one or has all others in it, which no Put made, shows none.
func (p peer) status(key tunnel.PublicKey, now time.Time) tunnel.PeerStatus {
	st := tunnel.PeerStatus{
		Peer:          tunnel.Peer{PublicKey: key, Endpoint: p.endpoint, Keepalive: p.keepalive},
		Live:          p.live(now),
		LastHandshake: p.handshake,
		Authenticated: p.handshake,
		RxBytes:       p.rxBytes,
		TxBytes:       p.txBytes,
	}
	if !p.handshake.IsZero() {
		st.Cipher = cipher
	}
	st.Prefix = widest(p.allowed)
	return st
}

// widest is the one of the prefixes that has all others in it or, of a former key,
// beside it a single address; invalid if there is none.
func widest(all []netip.Prefix) netip.Prefix {
	var out netip.Prefix
	for _, p := range all {
		if !out.IsValid() || p.Bits() < out.Bits() {
			out = p
		}
	}
	for _, p := range all {
		if !p.IsSingleIP() && !out.Contains(p.Addr()) {
			return netip.Prefix{}
		}
	}
	return out
}

func addrPort(a *net.UDPAddr) netip.AddrPort {
	if a == nil {
		return netip.AddrPort{}
	}
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func prefixes(nets []net.IPNet) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(nets))
	for _, n := range nets {
		out = append(out, device.PrefixOf(&n))
	}
	return out
}
