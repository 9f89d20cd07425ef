package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/urfave/cli/v2"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
)

// Flags are edgenetd's settings as flags; each has an environment variable
// (EDGENET_ and its name in capitals) and a key of the same name in the file.
func Flags() []cli.Flag {
	text := func(name, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, Usage: usage, EnvVars: []string{envName(name)}}
	}
	list := func(name, usage string) cli.Flag {
		return &cli.StringSliceFlag{Name: name, Usage: usage, EnvVars: []string{envName(name)}}
	}
	number := func(name, usage string, standard int) cli.Flag {
		return &cli.IntFlag{Name: name, Usage: usage, Value: standard, EnvVars: []string{envName(name)}}
	}
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Usage: "read settings from `FILE`", Value: DefaultFile, EnvVars: []string{envName("config")}},
		text("name", "the node's `NAME` in the mesh (default: the host's name)"),
		list("underlay", "`ADDRESS[@CARRIER]` of this host on the underlay; may be repeated or separated by commas"),
		text("state-dir", "`FOLDER` for what outlives a boot (default: "+DefaultStateDir+")"),
		text("run-dir", "`FOLDER` for the control socket (default: "+DefaultRunDir+")"),
		text("log-level", "debug, info, warn or error (default: info)"),
		text("log-format", "text or json (default: text)"),
		number("wireguard-port", "UDP `PORT` of WireGuard tunnels", DefaultWireGuardPort),
		number("ipsec-port", "UDP `PORT` of IPsec tunnels", DefaultIPsecPort),
		number("gossip-port", "TCP and UDP `PORT` of the mesh's gossip", DefaultGossipPort),
		number("peer-port", "TCP `PORT` where nodes join and talk to one another", DefaultPeerPort),
		list("tunnel-drivers", "`NAME` of a driver that tunnels may be made by: "+strings.Join(tunnel.Drivers(), ", ")+"; may be repeated or separated by commas (default: all that the host can run)"),
		text("tunnel-idle", "`DURATION` without a tenant's packet after which a tunnel rests, 0 for never (default: "+DefaultTunnelIdle+")"),
		text("mesh-profile", "`NAME`, wan or lan: whether a node that is gone is noticed within 5 s or, with more traffic, 2 s (default: wan)"),
		list("forward-from", "`ROLE` of nodes that may ask this authority for changes (default: every node)"),
		list("flow-timeouts", "`STATE=DURATION`: how long a silent flow in this state is kept; may be repeated or separated by commas"),
		number("max-flows", "`NUMBER` of flows that this host keeps at once; of a new datapath only", DefaultMaxFlows),
		text("certificate-life", "`DURATION` for which the certificates are valid that this node issues as an authority; nodes renew them by themselves when a third is left (default: 8760h)"),
		text("tunnel-key-lifetime", "`DURATION` after which the WireGuard key is replaced, 0 for never (default: 720h)"),
		text("metrics-address", "`ADDRESS:PORT` where Prometheus may scrape, over plain HTTP (default: nowhere)"),
	}
}

// Load makes the configuration of a parsed command line: flags and
// environment from ctx, the rest from the file.
func Load(ctx *cli.Context) (Config, error) {
	s, err := load(ctx)
	if err != nil {
		return Config{}, err
	}
	c, err := s.config()
	if err != nil {
		return Config{}, fmt.Errorf("check settings: %w", err)
	}
	return c, nil
}

// LoadDirs is Load for work that needs no more than the folders and the log: a
// node's name and underlay may be wrong or absent.
func LoadDirs(ctx *cli.Context) (Config, error) {
	s, err := load(ctx)
	if err != nil {
		return Config{}, err
	}
	c, err := settings{
		Name: "cleanup", Underlay: []string{"127.0.0.1"},
		StateDir: s.StateDir, RunDir: s.RunDir, LogLevel: s.LogLevel, LogFormat: s.LogFormat,
		WireGuardPort: DefaultWireGuardPort, IPsecPort: DefaultIPsecPort, GossipPort: DefaultGossipPort, PeerPort: DefaultPeerPort, MaxFlows: DefaultMaxFlows,
		CertLife: mesh.DefaultCertificateLife.String(), TunnelKeyLife: DefaultTunnelKeyLifetime.String(), TunnelIdle: DefaultTunnelIdle,
	}.config()
	if err != nil {
		return Config{}, fmt.Errorf("check settings: %w", err)
	}
	return c, nil
}

func load(ctx *cli.Context) (settings, error) {
	s := defaults()
	if err := s.readFile(ctx.String("config"), ctx.IsSet("config")); err != nil {
		return s, err
	}
	for key, to := range map[string]*string{
		"name": &s.Name, "state-dir": &s.StateDir, "run-dir": &s.RunDir, "log-level": &s.LogLevel, "log-format": &s.LogFormat,
		"certificate-life":    &s.CertLife,
		"tunnel-key-lifetime": &s.TunnelKeyLife,
		"tunnel-idle":         &s.TunnelIdle,
		"mesh-profile":        &s.MeshProfile,
		"metrics-address":     &s.MetricsAddr,
	} {
		if ctx.IsSet(key) {
			*to = ctx.String(key)
		}
	}
	for key, to := range map[string]*int{
		"wireguard-port": &s.WireGuardPort, "ipsec-port": &s.IPsecPort, "gossip-port": &s.GossipPort, "peer-port": &s.PeerPort,
		"max-flows": &s.MaxFlows,
	} {
		if ctx.IsSet(key) {
			*to = ctx.Int(key)
		}
	}
	for key, to := range map[string]*list{
		"underlay": &s.Underlay, "tunnel-drivers": &s.TunnelDrivers, "forward-from": &s.ForwardFrom, "flow-timeouts": &s.FlowTimeouts,
	} {
		if ctx.IsSet(key) {
			*to = append(list{}, ctx.StringSlice(key)...)
		}
	}
	return s, nil
}

// readFile overlays the file's settings; only the default file may be absent.
func (s *settings) readFile(path string, wanted bool) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !wanted {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	if err := s.parse(b); err != nil {
		return fmt.Errorf("read settings from %s: %w", path, err)
	}
	return nil
}

// parse overlays settings in YAML. A key that is not known is an error.
func (s *settings) parse(b []byte) error {
	var anything any
	if err := yaml.Unmarshal(b, &anything); err == nil && anything == nil {
		return nil // an empty document would make every setting empty
	}
	err := yaml.UnmarshalWithOptions(b, s, yaml.Strict())
	var mismatch *yaml.TypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &mismatch) && mismatch.StructFieldName != nil:
		at := mismatch.Token.Position
		return fmt.Errorf("[%d:%d] %s: want %s", at.Line, at.Column, key(*mismatch.StructFieldName), shape(mismatch.DstType))
	default:
		return errors.New(yaml.FormatError(err, false, false))
	}
}

// key is the name in the file of a field, which is given as settings.Field.
func key(field string) string {
	_, field, _ = strings.Cut(field, ".")
	if f, ok := reflect.TypeFor[settings]().FieldByName(field); ok {
		return f.Tag.Get("yaml")
	}
	return field
}

// shape says in words what a setting's value looks like.
func shape(t reflect.Type) string {
	if t.Kind() == reflect.Int {
		return "a number"
	}
	return "a text"
}
