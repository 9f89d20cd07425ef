package ipsec

import (
	"errors"
	"testing"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

func TestUserspaceConforms(t *testing.T) { conforms(t, KindUserspace) }

func TestKernelConforms(t *testing.T) {
	requireKernel(t)
	conforms(t, KindKernel)
}

func conforms(t *testing.T, kind Kind) {
	before := tunneltest.CountFDs(t)
	tunneltest.Conform(t, func(t *testing.T) tunneltest.Harness { return newHarness(t, kind, 2) })
	if after := tunneltest.CountFDs(t); after > before {
		t.Errorf("%d descriptors are open, before there were %d", after, before)
	}
}

// requireKernel skips where the kernel has no ESP, which only trying tells.
func requireKernel(t *testing.T) {
	t.Helper()
	tunneltest.NewSpace(t) // which needs the same privileges
	err := probeESP()
	if errors.Is(err, tunnel.ErrUnsupported) {
		t.Skipf("kernel lacks ESP: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}
