package ipsec

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
)

func goodConfig(t *testing.T) Config {
	return Config{
		Logger: slog.New(slog.DiscardHandler), Kind: KindUserspace, Key: someKey(t), RunDir: "/run/edgenet", Device: "en0i",
	}
}

func TestConfigurationsAreChecked(t *testing.T) {
	if _, err := New(goodConfig(t)); err != nil {
		t.Errorf("good configuration: %v", err)
	}
	for name, alter := range map[string]func(*Config){
		"no logger":           func(c *Config) { c.Logger = nil },
		"no kind":             func(c *Config) { c.Kind = 0 },
		"no key":              func(c *Config) { c.Key = PrivateKey{} },
		"a relative path":     func(c *Config) { c.RunDir = "run" },
		"a relative program":  func(c *Config) { c.Program = "charon" },
		"no device":           func(c *Config) { c.Device = "" },
		"a path for a device": func(c *Config) { c.Device = "../x" },
		"a long path":         func(c *Config) { c.RunDir = "/" + strings.Repeat("x", 90) },
		"short lives":         func(c *Config) { c.Lifetimes = Lifetimes{IKE: time.Hour, Child: 2 * time.Second} },
	} {
		c := goodConfig(t)
		alter(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestPeersAreChecked(t *testing.T) {
	d := newDriver(goodConfig(t).withDefaults())
	d.device = tunnel.Device{Address: netip.MustParseAddr("fd12:3400:0:1::1"), Mesh: mesh}
	good := tunnel.Peer{PublicKey: tunnel.PublicKey{1}, Prefix: netip.MustParsePrefix("fd12:3400:0:2::/64")}
	if err := d.validatePeer(good); err != nil {
		t.Errorf("good peer: %v", err)
	}
	for name, alter := range map[string]func(*tunnel.Peer){
		"no key":             func(p *tunnel.Peer) { p.PublicKey = tunnel.PublicKey{} },
		"this node's key":    func(p *tunnel.Peer) { p.PublicKey = someKey(t).Public() },
		"no prefix":          func(p *tunnel.Peer) { p.Prefix = netip.Prefix{} },
		"an address":         func(p *tunnel.Peer) { p.Prefix = netip.MustParsePrefix("fd12:3400:0:2::1/64") },
		"this node's prefix": func(p *tunnel.Peer) { p.Prefix = netip.MustParsePrefix("fd12:3400:0:1::/64") },
		"the whole mesh":     func(p *tunnel.Peer) { p.Prefix = mesh },
		"another mesh's":     func(p *tunnel.Peer) { p.Prefix = netip.MustParsePrefix("fd99:3400:0:2::/64") },
		"IPv4":               func(p *tunnel.Peer) { p.Prefix = netip.MustParsePrefix("10.0.0.0/8") },
		"no port":            func(p *tunnel.Peer) { p.Endpoint = netip.MustParseAddrPort("192.0.2.1:0") },
		"negative keepalive": func(p *tunnel.Peer) { p.Keepalive = -1 },
		"a week's keepalive": func(p *tunnel.Peer) { p.Keepalive = 7 * 24 * time.Hour },
	} {
		p := good
		alter(&p)
		if err := d.validatePeer(p); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
