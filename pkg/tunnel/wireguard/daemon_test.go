package wireguard

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

// daemonCommand makes the test's executable a daemon that brings a device up
// and is killed.
const daemonCommand = "test-daemon"

type daemonConfig struct {
	Key    string
	RunDir string
	Device tunnel.Device
}

// runDaemon runs it in the node's namespace and waits for its end.
func (n *node) runDaemon(t *testing.T) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := json.Marshal(daemonConfig{
		Key:    n.keys[tunneltest.Left].key.String(),
		RunDir: n.runDir[tunneltest.Left],
		Device: n.want,
	})
	if err != nil {
		t.Fatal(err)
	}
	n.space.Must(t, func() error {
		out, err := exec.Command(exe, daemonCommand, string(cfg)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("daemon: %w: %s", err, out)
		}
		return nil
	})
}

func daemonMain(arg string) error {
	var cfg daemonConfig
	if err := json.Unmarshal([]byte(arg), &cfg); err != nil {
		return err
	}
	key, err := ParseKey(cfg.Key)
	if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	d, err := New(Config{Logger: discard, Key: key, RunDir: cfg.RunDir, Executable: exe, Kind: KindUserspace})
	if err != nil {
		return err
	}
	_, err = d.Up(context.Background(), cfg.Device)
	return err
}

func prefixFrom(a [16]byte) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16(a), 64).Masked()
}
