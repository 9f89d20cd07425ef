package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
	"edgenet.dev/edgenet/pkg/tunnel"
)

// Defaults of the settings.
const (
	DefaultFile     = "/etc/edgenet/edgenetd.yaml"
	DefaultStateDir = "/var/lib/edgenet"
	DefaultRunDir   = "/run/edgenet"

	DefaultWireGuardPort = 51820
	DefaultIPsecPort     = 51821
	DefaultGossipPort    = 7946
	DefaultPeerPort      = 7947

	DefaultMaxFlows = 262144

	// DefaultTunnelKeyLifetime is 30 days.
	DefaultTunnelKeyLifetime = 720 * time.Hour

	// DefaultTunnelIdle is as text, as flags have it.
	DefaultTunnelIdle = "5m"
)

// minCertificateLife is the shortest life of a node's certificate: nodes renew it when
// a third is left, and have to reach an authority in that time.
const minCertificateLife = time.Hour

// minTunnelKeyLifetime is the shortest life of a tunnel key, but for none: a
// rotation takes some seconds, and all peers have a part in it.
const minTunnelKeyLifetime = 10 * time.Second

// Bounds of MaxFlows: fewer are not enough for any host, and more would be some
// gigabytes of kernel memory.
const (
	minFlows = 1 << 10
	maxFlows = 1 << 24
)

// maxSocketPath is the room for a path in struct sockaddr_un (unix(7)), less
// the terminating zero.
const maxSocketPath = 107

// Underlay is one of the host's addresses on the underlay.
type Underlay struct {
	Addr netip.Addr
	// Carrier is a label, empty if none was given.
	Carrier string
}

// Config is what edgenetd is told. Build it with Load.
type Config struct {
	// Name is the node's name in the mesh.
	Name string
	// Underlay has at least one address.
	Underlay []Underlay
	// StateDir keeps what outlives a boot, RunDir what does not.
	StateDir, RunDir string
	LogLevel         slog.Level
	// LogFormat is text or json.
	LogFormat string
	// Ports on the underlay: UDP, UDP, TCP and UDP, TCP.
	WireGuardPort, IPsecPort, GossipPort, PeerPort uint16
	// TunnelDrivers are the names of the drivers that tunnels may be made by, in
	// the order of tunnel.Drivers, of which those that the host can run are; empty
	// is all.
	TunnelDrivers []string
	// CertificateLife is how long the certificates are valid that this node issues, as
	// an authority.
	CertificateLife time.Duration
	// MeshProfile says how soon nodes that are gone are noticed.
	MeshProfile mesh.Profile
	// ForwardFrom are the roles whose nodes may ask this authority for changes
	// of VPCs and groups; empty means every admitted node.
	ForwardFrom []string
	// FlowTimeouts says how long a flow that is silent is kept, for states of
	// connection tracking that shall not have the datapath's default.
	FlowTimeouts map[isolation.FlowState]time.Duration
	// MaxFlows is how many flows this host keeps at once.
	MaxFlows int
	// TunnelKeyLifetime is how old the WireGuard key gets; 0 means that it is not
	// replaced by itself.
	TunnelKeyLifetime time.Duration
	// TunnelIdle is how long nothing has to be carried before a tunnel rests; 0 is
	// never.
	TunnelIdle time.Duration
	// MetricsAddress is where Prometheus may scrape; the zero value is nowhere.
	MetricsAddress netip.AddrPort
}

// Socket is the path of the control socket.
func (c Config) Socket() string { return filepath.Join(c.RunDir, "edgenetd.sock") }

// settings are the values as text, under the names that flags, environment
// (EDGENET_NAME, ...) and file share.
type settings struct {
	Name          string `yaml:"name"`
	Underlay      list   `yaml:"underlay"`
	StateDir      string `yaml:"state-dir"`
	RunDir        string `yaml:"run-dir"`
	LogLevel      string `yaml:"log-level"`
	LogFormat     string `yaml:"log-format"`
	WireGuardPort int    `yaml:"wireguard-port"`
	IPsecPort     int    `yaml:"ipsec-port"`
	GossipPort    int    `yaml:"gossip-port"`
	PeerPort      int    `yaml:"peer-port"`
	TunnelDrivers list   `yaml:"tunnel-drivers"`
	MeshProfile   string `yaml:"mesh-profile"`
	CertLife      string `yaml:"certificate-life"`
	ForwardFrom   list   `yaml:"forward-from"`
	FlowTimeouts  list   `yaml:"flow-timeouts"`
	MaxFlows      int    `yaml:"max-flows"`
	TunnelKeyLife string `yaml:"tunnel-key-lifetime"`
	TunnelIdle    string `yaml:"tunnel-idle"`
	MetricsAddr   string `yaml:"metrics-address"`
}

// list is a YAML sequence, or a text with commas as the flags have it.
type list []string

// UnmarshalYAML implements yaml.InterfaceUnmarshaler.
func (l *list) UnmarshalYAML(unmarshal func(any) error) error {
	var text string
	if unmarshal(&text) == nil {
		*l = strings.Split(text, ",")
		return nil
	}
	var texts []string
	if err := unmarshal(&texts); err != nil {
		return errors.New("underlay, tunnel-drivers, forward-from, flow-timeouts: want a list of texts, or one text with commas")
	}
	*l = texts
	return nil
}

func defaults() settings {
	name, err := os.Hostname()
	if err != nil {
		name = ""
	}
	name, _, _ = strings.Cut(strings.ToLower(name), ".")
	return settings{
		Name:          name,
		StateDir:      DefaultStateDir,
		RunDir:        DefaultRunDir,
		LogLevel:      "info",
		LogFormat:     "text",
		WireGuardPort: DefaultWireGuardPort,
		IPsecPort:     DefaultIPsecPort,
		GossipPort:    DefaultGossipPort,
		PeerPort:      DefaultPeerPort,
		MeshProfile:   string(mesh.ProfileWAN),
		CertLife:      mesh.DefaultCertificateLife.String(),
		MaxFlows:      DefaultMaxFlows,
		TunnelKeyLife: DefaultTunnelKeyLifetime.String(),
		TunnelIdle:    DefaultTunnelIdle,
	}
}

// config checks every setting and reports all that are wrong, not only the
// first.
func (s settings) config() (Config, error) {
	c := Config{Name: s.Name, LogFormat: s.LogFormat, ForwardFrom: s.ForwardFrom}
	var problems []error
	note := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	if err := policy.ValidateName(s.Name); err != nil {
		note(fmt.Errorf("name: %w", err))
	}
	var err error
	c.Underlay, err = parseUnderlay(s.Underlay)
	note(err)
	c.StateDir, err = absolute("state-dir", s.StateDir)
	note(err)
	c.RunDir, err = absolute("run-dir", s.RunDir)
	note(err)
	if len(c.Socket()) > maxSocketPath {
		note(fmt.Errorf("run-dir: %s: the control socket's path would have %d bytes; at most %d", c.RunDir, len(c.Socket()), maxSocketPath))
	}
	if err := c.LogLevel.UnmarshalText([]byte(s.LogLevel)); err != nil {
		note(fmt.Errorf("log-level: %q: want debug, info, warn or error", s.LogLevel))
	}
	if s.LogFormat != "text" && s.LogFormat != "json" {
		note(fmt.Errorf("log-format: %q: want text or json", s.LogFormat))
	}
	c.WireGuardPort, err = port("wireguard-port", s.WireGuardPort)
	note(err)
	c.IPsecPort, err = port("ipsec-port", s.IPsecPort)
	note(err)
	c.GossipPort, err = port("gossip-port", s.GossipPort)
	note(err)
	c.PeerPort, err = port("peer-port", s.PeerPort)
	note(err)
	if s.GossipPort == s.PeerPort {
		note(fmt.Errorf("peer-port: %d: is the gossip port too; both use TCP", s.PeerPort))
	}
	if s.WireGuardPort == s.GossipPort {
		note(fmt.Errorf("wireguard-port: %d: is the gossip port too; both use UDP", s.WireGuardPort))
	}
	if s.IPsecPort == s.GossipPort || s.IPsecPort == s.WireGuardPort {
		note(fmt.Errorf("ipsec-port: %d: is the gossip or WireGuard port too; all use UDP", s.IPsecPort))
	}
	c.TunnelDrivers, err = parseDrivers(s.TunnelDrivers)
	note(err)
	if c.MeshProfile, err = mesh.ParseProfile(s.MeshProfile); err != nil {
		note(fmt.Errorf("mesh-profile: %w", err))
	}
	c.CertificateLife, err = parseCertificateLife(s.CertLife)
	note(err)
	note(checkRoles(s.ForwardFrom))
	c.FlowTimeouts, err = parseTimeouts(s.FlowTimeouts)
	note(err)
	if c.MaxFlows = s.MaxFlows; c.MaxFlows < minFlows || c.MaxFlows > maxFlows {
		note(fmt.Errorf("max-flows: %d: want %d to %d", c.MaxFlows, minFlows, maxFlows))
	}
	c.TunnelKeyLifetime, err = parseLifetime(s.TunnelKeyLife)
	note(err)
	c.TunnelIdle, err = parseIdle(s.TunnelIdle)
	note(err)
	c.MetricsAddress, err = parseMetricsAddress(s.MetricsAddr)
	note(err)
	return c, errors.Join(problems...)
}

func parseCertificateLife(text string) (time.Duration, error) {
	life, err := time.ParseDuration(text)
	if err != nil || life < minCertificateLife || life > mesh.MaxCertificateLife {
		return 0, fmt.Errorf("certificate-life: %q: want a duration from %s to %s, such as 2160h", text, minCertificateLife, mesh.MaxCertificateLife)
	}
	return life, nil
}

func parseLifetime(text string) (time.Duration, error) {
	life, err := time.ParseDuration(text)
	if err != nil || life != 0 && life < minTunnelKeyLifetime {
		return 0, fmt.Errorf("tunnel-key-lifetime: %q: want a duration of at least %s, such as 720h, or 0 for ever", text, minTunnelKeyLifetime)
	}
	return life, nil
}

func absolute(key, path string) (string, error) {
	if path == "" {
		return "", fmt.Errorf("%s: is empty; want a folder", key)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	return abs, nil
}

func port(key string, n int) (uint16, error) {
	if n < 1 || n > 65535 {
		return 0, fmt.Errorf("%s: %d: want 1 to 65535", key, n)
	}
	return uint16(n), nil
}

// parseDrivers keeps apart a list that is not given and one that is empty.
func parseDrivers(texts list) ([]string, error) {
	if texts == nil {
		return nil, nil
	}
	names := make([]string, 0, len(texts))
	for _, text := range texts {
		if name := strings.TrimSpace(text); name != "" || len(texts) > 1 {
			names = append(names, name)
		}
	}
	drivers, err := tunnel.ParseDrivers(names)
	if err != nil {
		return nil, fmt.Errorf("tunnel-drivers: %w", err)
	}
	return drivers, nil
}

// minIdle is the least that is noticed: when tunnels were used is known to about
// a second.
const minIdle = time.Second

func parseIdle(text string) (time.Duration, error) {
	idle, err := time.ParseDuration(text)
	if err != nil || idle != 0 && idle < minIdle {
		return 0, fmt.Errorf("tunnel-idle: %q: want 0 or a duration of at least %s, such as 5m", text, minIdle)
	}
	return idle, nil
}

func parseMetricsAddress(text string) (netip.AddrPort, error) {
	if text == "" {
		return netip.AddrPort{}, nil
	}
	address, err := netip.ParseAddrPort(text)
	if err != nil || address.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("metrics-address: %q: want an address and a port, such as 127.0.0.1:9469 or [::1]:9469", text)
	}
	return address, nil
}

func checkRoles(roles []string) error {
	for _, r := range roles {
		switch r {
		case "edge", "cloud", "gateway", "relay", "authority":
		default:
			return fmt.Errorf("forward-from: %q: want edge, cloud, gateway, relay or authority", r)
		}
	}
	return nil
}

// parseTimeouts parses items as STATE=DURATION.
func parseTimeouts(texts []string) (map[isolation.FlowState]time.Duration, error) {
	timeouts := make(map[isolation.FlowState]time.Duration, len(texts))
	for _, text := range texts {
		state, value, _ := strings.Cut(strings.TrimSpace(text), "=")
		timeout, err := time.ParseDuration(value)
		if err != nil {
			return nil, fmt.Errorf("flow-timeouts: %q: want STATE=DURATION, such as udp-replied=90s", text)
		}
		if _, twice := timeouts[isolation.FlowState(state)]; twice {
			return nil, fmt.Errorf("flow-timeouts: %s: is there twice", state)
		}
		timeouts[isolation.FlowState(state)] = timeout
	}
	if len(timeouts) == 0 {
		return nil, nil
	}
	if err := isolation.CheckFlowTimeouts(timeouts); err != nil {
		return nil, fmt.Errorf("flow-timeouts: %w", err)
	}
	return timeouts, nil
}

// parseUnderlay parses ADDRESS or ADDRESS@CARRIER.
func parseUnderlay(texts []string) ([]Underlay, error) {
	var links []Underlay
	seen := map[netip.Addr]bool{}
	for _, text := range texts {
		address, carrier, labelled := strings.Cut(strings.TrimSpace(text), "@")
		addr, err := netip.ParseAddr(address)
		if err != nil || addr.IsUnspecified() || addr.IsMulticast() || addr.Is4In6() {
			return nil, fmt.Errorf("underlay: %q: want an address of this host, or ADDRESS@CARRIER", text)
		}
		if labelled {
			if err := policy.ValidateName(carrier); err != nil {
				return nil, fmt.Errorf("underlay: %q: carrier: %w", text, err)
			}
		}
		if seen[addr] {
			return nil, fmt.Errorf("underlay: %s: is there twice", addr)
		}
		seen[addr] = true
		links = append(links, Underlay{Addr: addr, Carrier: carrier})
	}
	if len(links) == 0 {
		return nil, errors.New("underlay: none given; want at least one address of this host, such as 198.18.0.2")
	}
	return links, nil
}
