package config

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

// load runs a command line as edgenetd does.
func loadArgs(t *testing.T, args ...string) (Config, error) {
	t.Helper()
	var cfg Config
	app := &cli.App{Flags: Flags(), Action: func(c *cli.Context) error {
		var err error
		cfg, err = Load(c)
		return err
	}, ExitErrHandler: func(*cli.Context, error) {}}
	return cfg, app.Run(append([]string{"edgenetd"}, args...))
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "edgenetd.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagsBeatEnvironmentBeatsFile(t *testing.T) {
	file := writeFile(t, "name: from-file\nlog-level: debug\nlog-format: json\nunderlay: [198.18.0.2, 198.18.1.2@telecom]\npeer-port: 8000\n")
	t.Setenv("EDGENET_NAME", "from-env")
	t.Setenv("EDGENET_LOG_LEVEL", "warn")
	cfg, err := loadArgs(t, "--config", file, "--name", "from-flag")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Name != "from-flag" {
		t.Errorf("name is %q: a flag must beat the environment", cfg.Name)
	}
	if cfg.LogLevel != slog.LevelWarn {
		t.Errorf("log level is %v: the environment must beat the file", cfg.LogLevel)
	}
	if cfg.LogFormat != "json" || cfg.PeerPort != 8000 {
		t.Errorf("got format %q and port %d: the file must beat the defaults", cfg.LogFormat, cfg.PeerPort)
	}
	want := []Underlay{{Addr: netip.MustParseAddr("198.18.0.2")}, {Addr: netip.MustParseAddr("198.18.1.2"), Carrier: "telecom"}}
	if len(cfg.Underlay) != 2 || cfg.Underlay[0] != want[0] || cfg.Underlay[1] != want[1] {
		t.Errorf("underlay is %v, want %v", cfg.Underlay, want)
	}
	if cfg.StateDir != DefaultStateDir || cfg.Socket() != "/run/edgenet/edgenetd.sock" {
		t.Errorf("folders are %s and %s", cfg.StateDir, cfg.Socket())
	}
}

func TestUnderlayIsAListInEveryForm(t *testing.T) {
	for sentence, args := range map[string][]string{
		"commas":   {"--underlay", "198.18.0.2,198.18.0.3"},
		"file":     {"--config", writeFile(t, "underlay: [198.18.0.2, 198.18.0.3]\n")},
		"text":     {"--config", writeFile(t, "underlay: 198.18.0.2,198.18.0.3\n")},
		"repeated": {"--underlay", "198.18.0.2", "--underlay", "198.18.0.3"},
	} {
		t.Run(sentence, func(t *testing.T) {
			cfg, err := loadArgs(t, append(args, "--name", "edge-1")...)
			if err != nil {
				t.Fatal(err)
			}
			if len(cfg.Underlay) != 2 {
				t.Errorf("underlay is %v, want two", cfg.Underlay)
			}
		})
	}
}

func TestTunnelDriversAreAllThatAreNamed(t *testing.T) {
	ok := []string{"--name", "edge-1", "--underlay", "127.0.0.1"}
	for sentence, c := range map[string]struct {
		args []string
		want string
	}{
		"none is all":     {nil, ""},
		"commas":          {[]string{"--tunnel-drivers", "ipsec-userspace, wireguard-kernel"}, "wireguard-kernel ipsec-userspace"},
		"file":            {[]string{"--config", writeFile(t, "tunnel-drivers: [ipsec-kernel]\n")}, "ipsec-kernel"},
		"a flag replaces": {[]string{"--config", writeFile(t, "tunnel-drivers: ipsec-kernel\n"), "--tunnel-drivers", "ipsec-userspace"}, "ipsec-userspace"},
	} {
		cfg, err := loadArgs(t, append(ok, c.args...)...)
		if got := strings.Join(cfg.TunnelDrivers, " "); err != nil || got != c.want {
			t.Errorf("%s: got %q, %v, want %q", sentence, got, err, c.want)
		}
	}
	empty := func(args ...string) {
		t.Helper()
		cfg, err := loadArgs(t, append(ok, args...)...)
		if err == nil || !strings.Contains(err.Error(), "tunnel-drivers: is empty") {
			t.Errorf("got %v, %v of an empty list", cfg.TunnelDrivers, err)
		}
	}
	empty("--config", writeFile(t, "tunnel-drivers: []\n"))
	empty("--tunnel-drivers", "")
	t.Setenv("EDGENET_TUNNEL_DRIVERS", "")
	empty()
}

func TestAnEmptyFileIsFine(t *testing.T) {
	for _, text := range []string{"", "# nothing\n"} {
		if _, err := loadArgs(t, "--config", writeFile(t, text), "--name", "a", "--underlay", "127.0.0.1"); err != nil {
			t.Errorf("file %q: %v", text, err)
		}
	}
}

func TestBadSettingsAreNamed(t *testing.T) {
	ok := []string{"--name", "edge-1", "--underlay", "127.0.0.1"}
	for want, args := range map[string][]string{
		`underlays`:                  {"--config", writeFile(t, "underlays: [127.0.0.1]\n")},
		`[1:7] `:                     {"--config", writeFile(t, "name: [\n")},
		`[1:7] name: want a text`:    {"--config", writeFile(t, "name: [a, b]\n")},
		`gossip-port: want a number`: {"--config", writeFile(t, "gossip-port: many\n")},
		`underlay, tunnel-drivers, forward-from, flow-timeouts: want a list`: {"--config", writeFile(t, "underlay: {a: 1}\n")},
		`flow-timeouts: "udp-replied": want`:                                 {"--underlay", "127.0.0.1", "--flow-timeouts", "udp-replied"},
		`flow-timeouts: flow state "udp"`:                                    {"--underlay", "127.0.0.1", "--flow-timeouts", "udp=90s"},
		`flow-timeouts: time-out 1s`:                                         {"--underlay", "127.0.0.1", "--flow-timeouts", "udp-replied=1s"},
		`flow-timeouts: udp-replied: is there`:                               {"--underlay", "127.0.0.1", "--flow-timeouts", "udp-replied=9s,udp-replied=8s"},
		`tunnel-drivers: "wireguard": want some of wireguard-kernel, `:       append(ok, "--tunnel-drivers", "wireguard"),
		`tunnel-drivers: "": want some of`:                                   append(ok, "--tunnel-drivers", "ipsec-kernel,"),
		`tunnel-drivers: is empty; want some of wireguard-kernel, `:          append(ok, "--tunnel-drivers", ""),
		`tunnel-drivers: ipsec-kernel: is there twice`:                       append(ok, "--tunnel-drivers", "ipsec-kernel,ipsec-kernel"),
		`tunnel-key-lifetime: "1s"`:                                          {"--underlay", "127.0.0.1", "--tunnel-key-lifetime", "1s"},
		`tunnel-key-lifetime: "-1h"`:                                         {"--underlay", "127.0.0.1", "--tunnel-key-lifetime", "-1h"},
		`tunnel-key-lifetime: "long"`:                                        {"--underlay", "127.0.0.1", "--tunnel-key-lifetime", "long"},
		`max-flows: 1: want 1024`:                                            {"--underlay", "127.0.0.1", "--max-flows", "1"},
		`tunnel-idle: "20ms": want 0 or`:                                     {"--underlay", "127.0.0.1", "--tunnel-idle", "20ms"},
		`certificate-life: "30m": want a duration from 1h0m0s to 8760h0m0s`:  {"--underlay", "127.0.0.1", "--certificate-life", "30m"},
		`certificate-life: "9000h"`:                                          {"--underlay", "127.0.0.1", "--certificate-life", "9000h"},
		`certificate-life: "long"`:                                           {"--underlay", "127.0.0.1", "--certificate-life", "long"},
		`mesh-profile: "man": want wan or lan`:                               {"--underlay", "127.0.0.1", "--mesh-profile", "man"},
		`tunnel-idle: "soon"`:                                                {"--underlay", "127.0.0.1", "--tunnel-idle", "soon"},
		`no such file`:                                                       {"--config", "/nowhere/edgenetd.yaml"},
		`underlay: none given`:                                               {"--name", "edge-1"},
		`name: `:                                                             {"--name", "Edge 1", "--underlay", "127.0.0.1"},
		`underlay: "nonsense"`:                                               append(ok, "--underlay", "nonsense"),
		`is there twice`:                                                     append(ok, "--underlay", "127.0.0.1"),
		`log-level: "loud"`:                                                  append(ok, "--log-level", "loud"),
		`log-format: "xml"`:                                                  append(ok, "--log-format", "xml"),
		`gossip-port: 70000`:                                                 append(ok, "--gossip-port", "70000"),
		`is the gossip port too`:                                             append(ok, "--peer-port", "7946"),
		`run-dir: `:                                                          append(ok, "--run-dir", "/"+strings.Repeat("x", 120)),
		`forward-from: "king"`:                                               append(ok, "--forward-from", "king"),
		`flag provided but not defined`:                                      append(ok, "--colour", "red"),
	} {
		t.Run(want, func(t *testing.T) {
			_, err := loadArgs(t, args...)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got error %v, want one with %q", err, want)
			}
		})
	}
}

func TestAllProblemsAreToldAtOnce(t *testing.T) {
	_, err := loadArgs(t, "--name", "Edge 1", "--log-level", "loud")
	for _, want := range []string{"name:", "underlay:", "log-level:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not tell of %s", err, want)
		}
	}
}

func TestVariablesThatAreWrittenWrongAreRefused(t *testing.T) {
	good := []string{"PATH=/bin", "EDGENET_NAME=a", "EDGENET_SOCKET=/x", "EDGENET_PEER_PORT=1"}
	if unknown, err := CheckEnvironment(good, Flags()); err != nil || len(unknown) != 0 {
		t.Errorf("got %v, %v of variables that are settings or not edgenetd's", unknown, err)
	}
	for wrong, right := range map[string]string{
		"EDGENET_UNDERLAYS": "EDGENET_UNDERLAY", "EDGENET_NMAE": "EDGENET_NAME", "EDGENET_LOGLEVEL": "EDGENET_LOG_LEVEL",
	} {
		_, err := CheckEnvironment([]string{wrong + "=x"}, Flags())
		if err == nil || !strings.Contains(err.Error(), wrong) || !strings.Contains(err.Error(), right+"?") {
			t.Errorf("%s: got %v, want an error that names it and %s", wrong, err, right)
		}
	}
	unknown, err := CheckEnvironment([]string{"EDGENET_SITE_OF_THIS_HOST=x"}, Flags())
	if err != nil || len(unknown) != 1 {
		t.Errorf("got %v, %v of somebody else's variable, want its name", unknown, err)
	}
}

func FuzzFile(f *testing.F) {
	f.Add([]byte("name: edge-1\nunderlay: [127.0.0.1]\n"))
	f.Add([]byte("underlay: {a: b}\n"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		s := defaults()
		if s.parse(b) == nil {
			_, _ = s.config()
		}
	})
}

func TestConnectionTrackingIsConfigured(t *testing.T) {
	file := writeFile(t, "name: edge-1\nunderlay: [127.0.0.1]\nflow-timeouts: [udp-replied=70s, icmp=9s]\nmax-flows: 4096\n")
	cfg, err := loadArgs(t, "--config", file)
	if err != nil || cfg.MaxFlows != 4096 || len(cfg.FlowTimeouts) != 2 || cfg.FlowTimeouts["udp-replied"] != 70*time.Second {
		t.Errorf("the file gives %+v, %v", cfg, err)
	}
	t.Setenv("EDGENET_FLOW_TIMEOUTS", "tcp-established=24h")
	cfg, err = loadArgs(t, "--config", file, "--max-flows", "8192")
	if err != nil || cfg.MaxFlows != 8192 || len(cfg.FlowTimeouts) != 1 || cfg.FlowTimeouts["tcp-established"] != 24*time.Hour {
		t.Errorf("flag and variable give %+v, %v", cfg, err)
	}
	if cfg, err = loadArgs(t, "--name", "edge-1", "--underlay", "127.0.0.1"); err != nil || cfg.MaxFlows != DefaultMaxFlows || cfg.TunnelKeyLifetime != 720*time.Hour {
		t.Errorf("nothing gives %+v, %v", cfg, err)
	}
}
