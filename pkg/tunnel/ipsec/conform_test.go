package ipsec

import (
	"errors"
	"os"
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
	before := countFDs(t)
	tunneltest.Conform(t, func(t *testing.T) tunneltest.Harness { return newHarness(t, kind, 2) })
	if after := countFDs(t); after > before {
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

// countFDs counts this process's descriptors but for the two by which the
// runtime waits, opened at first use and kept.
func countFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, entry := range entries {
		target, err := os.Readlink("/proc/self/fd/" + entry.Name())
		if err == nil && target != "anon_inode:[eventpoll]" && target != "anon_inode:[eventfd]" {
			count++
		}
	}
	return count
}
