package ipsec

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// What the probe says is what a driver finds when it is used.
func TestProbesSayWhatDriversFind(t *testing.T) {
	for _, kind := range []Kind{KindKernel, KindUserspace} {
		h := newHarness(t, kind, 2)
		d := h.driver(t, 0)
		_, up := d.Up(t.Context(), h.device(0))
		probed := Probe(kind)
		if (probed == nil) != (up == nil) || errors.Is(probed, tunnel.ErrUnsupported) != errors.Is(up, tunnel.ErrUnsupported) {
			t.Errorf("kind %d: the probe says %v, the driver %v", kind, probed, up)
		}
		if err := d.Down(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestWhatCharonLacksIsNamed(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "charon")
	want := func(err error, words string) {
		t.Helper()
		if !errors.Is(err, tunnel.ErrUnsupported) || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, want %q", err, words)
		}
	}
	want(probeCharon(program, ""), "no "+program)
	if err := os.WriteFile(program, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want(probeCharon(program, ""), "is no program")
	if err := os.WriteFile(filepath.Join(dir, "libstrongswan-vici.so"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want(probePlugins(dir, "kdf vici kernel-libipsec"), "lacks plugins kdf, kernel-libipsec in "+dir)
	if err := probePlugins(dir, "vici"); err != nil {
		t.Error(err)
	}
}
