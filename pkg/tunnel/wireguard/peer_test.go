package wireguard

import (
	"net/netip"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"edgenet.dev/edgenet/pkg/tunnel"
)

func TestPlanTouchesOnlyWhatDiffers(t *testing.T) {
	now := time.Unix(10_000, 0)
	wanted := netip.MustParseAddrPort("192.0.2.1:51820")
	learned := netip.MustParseAddrPort("203.0.113.9:4500")
	prefix := netip.MustParsePrefix("fd12:3400:0:1::/64")
	want := tunnel.Peer{
		PublicKey: tunnel.PublicKey{1}, Endpoint: wanted, Prefix: prefix, Keepalive: 25 * time.Second,
	}
	right := peer{
		endpoint: wanted, allowed: []netip.Prefix{prefix}, keepalive: 25 * time.Second,
		handshake: now.Add(-time.Minute), configured: true,
	}
	with := func(alter func(*peer)) peer {
		p := right
		alter(&p)
		return p
	}
	for _, c := range []struct {
		name                         string
		have                         peer
		last                         netip.AddrPort
		allowed, keepalive, endpoint bool // what is to be changed
	}{
		{name: "nothing", have: right, last: wanted},
		{name: "all of a new peer", have: peer{}, allowed: true, keepalive: true, endpoint: true},
		{
			name: "a lost prefix", have: with(func(p *peer) { p.allowed = nil }),
			last: wanted, allowed: true,
		},
		{
			name: "a prefix too many",
			have: with(func(p *peer) { p.allowed = append(p.allowed, netip.MustParsePrefix("::/0")) }),
			last: wanted, allowed: true,
		},
		{
			name: "the keepalive", have: with(func(p *peer) { p.keepalive = 0 }),
			last: wanted, keepalive: true,
		},
		{
			name: "no learned endpoint that works",
			have: with(func(p *peer) { p.endpoint = learned }), last: wanted,
		},
		{
			name: "no learned endpoint that works, after a restart",
			have: with(func(p *peer) { p.endpoint = learned }),
		},
		{
			name: "a learned endpoint after three minutes",
			have: with(func(p *peer) { p.endpoint, p.handshake = learned, now.Add(-sessionAge) }),
			last: wanted, endpoint: true,
		},
		{
			name: "an endpoint without any handshake",
			have: with(func(p *peer) { p.endpoint, p.handshake = learned, time.Time{} }),
			last: wanted, endpoint: true,
		},
		{
			name: "a working endpoint when another is wanted",
			have: with(func(p *peer) { p.endpoint = learned }), last: learned, endpoint: true,
		},
		{
			name: "an endpoint that is missing",
			have: with(func(p *peer) { p.endpoint = netip.AddrPort{} }), last: wanted, endpoint: true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, differs := plan(c.have, want, c.last, now)
			if differs != (c.allowed || c.keepalive || c.endpoint) {
				t.Errorf("differs is %t", differs)
			}
			if got.ReplaceAllowedIPs != c.allowed || (len(got.AllowedIPs) == 1) != c.allowed {
				t.Errorf("allowed IPs are changed to %v, %t", got.AllowedIPs, got.ReplaceAllowedIPs)
			}
			if (got.PersistentKeepaliveInterval != nil) != c.keepalive {
				t.Errorf("keepalive is changed to %v", got.PersistentKeepaliveInterval)
			}
			if (got.Endpoint != nil) != c.endpoint {
				t.Errorf("endpoint is changed to %v", got.Endpoint)
			}
			if got.UpdateOnly != c.have.configured {
				t.Errorf("update only is %t", got.UpdateOnly)
			}
		})
	}
}

func TestUnknownEndpointIsNeverSet(t *testing.T) {
	want := tunnel.Peer{PublicKey: tunnel.PublicKey{1}, Prefix: netip.MustParsePrefix("fd12::/64")}
	got, differs := plan(peer{}, want, netip.AddrPort{}, time.Now())
	if !differs || got.Endpoint != nil {
		t.Errorf("endpoint is %v, want none", got.Endpoint)
	}
}

func TestSnapshotFollowsWhatWasPut(t *testing.T) {
	prefix := netip.MustParsePrefix("fd12:3400:0:1::/64")
	want := tunnel.Peer{Prefix: prefix, Keepalive: time.Second, Endpoint: netip.MustParseAddrPort("192.0.2.1:9")}
	now := time.Unix(10_000, 0)
	s := newSnapshot(&wgtypes.Device{}, now)
	for _, key := range []tunnel.PublicKey{{1}, {2}} {
		want.PublicKey = key
		change, differs := plan(s.peers[key], want, netip.AddrPort{}, now)
		if !differs {
			t.Fatal("a new peer is no change")
		}
		s.put(key, change)
		if _, differs := plan(s.peers[key], want, want.Endpoint, now); differs {
			t.Error("a peer that was put differs")
		}
	}
	if got := s.peers[tunnel.PublicKey{1}].status(tunnel.PublicKey{1}, time.Time{}); got.Prefix.IsValid() {
		t.Errorf("the first peer still has %s", got.Prefix)
	}
	s.put(tunnel.PublicKey{2}, wgtypes.PeerConfig{Remove: true})
	if len(s.peers) != 1 {
		t.Errorf("%d peers are left, want 1", len(s.peers))
	}
	if !s.fresh(now) || s.fresh(now.Add(snapshotAge)) || s.fresh(now.Add(-time.Hour)) {
		t.Error("the age of a snapshot is misjudged")
	}
}

func TestPeersAreChecked(t *testing.T) {
	good := tunnel.Peer{PublicKey: tunnel.PublicKey{1}, Prefix: netip.MustParsePrefix("fd12::/64")}
	if err := validatePeer(good); err != nil {
		t.Errorf("good peer: %v", err)
	}
	for name, alter := range map[string]func(*tunnel.Peer){
		"no key":             func(p *tunnel.Peer) { p.PublicKey = tunnel.PublicKey{} },
		"no prefix":          func(p *tunnel.Peer) { p.Prefix = netip.Prefix{} },
		"an address":         func(p *tunnel.Peer) { p.Prefix = netip.MustParsePrefix("fd12::1/64") },
		"negative keepalive": func(p *tunnel.Peer) { p.Keepalive = -1 },
		"a day's keepalive":  func(p *tunnel.Peer) { p.Keepalive = 24 * time.Hour },
	} {
		p := good
		alter(&p)
		if err := validatePeer(p); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if got := wholeSeconds(1500 * time.Millisecond); got != 2*time.Second {
		t.Errorf("1.5 s is rounded to %s, want 2s", got)
	}
}

func TestATunnelIsLiveWhileItsHandshakeIsFresh(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	for at, live := range map[time.Time]bool{
		{}:                         false,
		now:                        true,
		now.Add(-sessionAge + 1):   true,
		now.Add(-sessionAge):       false,
		now.Add(-sessionAge - 1e9): false,
	} {
		if got := (peer{handshake: at}).status(tunnel.PublicKey{1}, now); got.Live != live {
			t.Errorf("handshake at %v: live %v, want %v", at, got.Live, live)
		}
	}
}
