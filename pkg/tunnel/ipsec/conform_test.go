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

// One end has ESP in the kernel, the other one in charon, and neither is told.
func TestBothKindsConformTogether(t *testing.T) {
	requireKernel(t)
	for begins, kinds := range map[string]map[int]Kind{
		"kernel begins":    {0: KindKernel, 1: KindUserspace},
		"userspace begins": {0: KindUserspace, 1: KindKernel},
	} {
		t.Run(begins, func(t *testing.T) { conformsWith(t, kinds) })
	}
}

func conforms(t *testing.T, kind Kind) { conformsWith(t, map[int]Kind{0: kind, 1: kind}) }

func conformsWith(t *testing.T, kinds map[int]Kind) {
	before := tunneltest.CountFDs(t)
	tunneltest.Conform(t, func(t *testing.T) tunneltest.Harness {
		h := newHarness(t, 0, 2)
		h.kinds = kinds
		return h
	})
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
