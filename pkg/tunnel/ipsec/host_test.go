package ipsec

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/strongswan/govici/vici"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel/internal/proc"
)

// A host that runs strongSwan itself, on IKE's own ports, keeps it: its process,
// its configuration, its device.
func TestAHostsStrongSwanIsLeftAlone(t *testing.T) {
	h := newHarness(t, KindUserspace, 2)
	dir := shortTempDir(t)
	theirs := startStranger(t, h, 0, dir)
	add := map[string]any{"theirs": map[string]any{
		"remote_addrs": []string{"192.0.2.77"},
		"local":        map[string]string{"auth": "psk", "id": "host"},
		"remote":       map[string]string{"auth": "psk", "id": "elsewhere"},
		"children":     map[string]any{"net": map[string]any{"remote_ts": []string{"192.0.2.0/24"}}},
	}}
	m, err := vici.MarshalMessage(add)
	if err != nil {
		t.Fatal(err)
	}
	if err := request(t.Context(), dir, "load-conn", m); err != nil {
		t.Fatal(err)
	}
	before := h.stranger(t, dir)

	f := newFleet(t, h)
	f.full(t)
	if name := f.deviceName(t, 0); name == theirs {
		t.Errorf("the device is %s, the host's own", name)
	}
	if after := h.stranger(t, dir); after != before {
		t.Errorf("the host's strongSwan was\n%s\nand is\n%s", before, after)
	}
	h.lab.Spaces[0].Must(t, func() error { return RemoveAll(t.Context(), h.runDirs[0], f.raw(0).log) })
	if after := h.stranger(t, dir); after != before {
		t.Errorf("the host's strongSwan was\n%s\nand is, when ours has gone,\n%s", before, after)
	}
	h.lab.Spaces[0].Must(t, func() error {
		link, err := netlink.LinkByName(theirs)
		if err == nil {
			err = netlink.LinkDel(link) // for the harness, which wants nothing left
		}
		return err
	})
}

// startStranger runs a charon in a node as a host's own would be, and returns the
// name of its device.
func startStranger(t *testing.T, h *harness, node int, dir string) string {
	t.Helper()
	text := fmt.Sprintf(`charon {
  load = random nonce openssl kdf pem pkcs1 pkcs8 pubkey socket-default kernel-libipsec kernel-netlink vici
  plugins {
    vici {
      socket = unix://%s
    }
  }
}
charon-systemd {
  journal {
    default = -1
  }
}
`, socketPath(dir))
	path := filepath.Join(dir, "strongswan.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(DefaultProgram)
	cmd.Env = []string{"STRONGSWAN_CONF=" + path}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	h.lab.Spaces[node].Must(t, cmd.Start)
	t.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		_ = cmd.Wait()
	})
	deadline := time.Now().Add(startTimeout)
	for time.Now().Before(deadline) {
		if err := request(t.Context(), dir, "version", nil); err == nil {
			name, err := tunOf(cmd.Process.Pid)
			if err != nil {
				t.Fatal(err)
			}
			return name
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("the host's charon does not start")
	return ""
}

// stranger says what the host's charon is and has.
func (h *harness) stranger(t *testing.T, dir string) string {
	t.Helper()
	p, err := proc.Listening(t.Context(), socketPath(dir))
	if err != nil || p == nil {
		t.Fatalf("the host's charon is gone: %v", err)
	}
	defer p.Close()
	out := fmt.Sprintf("process %d", p.PID)
	err = talk(t.Context(), dir, func(s *vici.Session) error {
		conns, err := stream(s, "list-conns", "list-conn")
		for _, c := range conns {
			out += fmt.Sprintf("; configurations %v", c.Keys())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	h.lab.Spaces[0].Must(t, func() error {
		name, err := tunOf(p.PID)
		if err != nil {
			return err
		}
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		rules, err := netlink.RuleList(netlink.FAMILY_V4)
		for _, r := range rules {
			if r.Table != routeTable {
				out += "; " + r.String()
			}
		}
		out += fmt.Sprintf("; device %s %d %q", name, link.Attrs().Index, link.Attrs().Alias)
		return err
	})
	return out
}
