package daemon

import (
	"fmt"
	"slices"
	"testing"

	"edgenet.dev/edgenet/pkg/tunnel"
)

func TestWhatRunsIsKeptUnlessItIsExcluded(t *testing.T) {
	const k, u = tunnel.IPsecKernel, tunnel.IPsecUserspace
	for _, c := range []struct {
		name         string
		allowed, can []string
		found        string
		want         plan
	}{
		{"nothing is there", tunnel.Drivers(), []string{k, u}, "", plan{drivers: []string{k, u}}},
		{"what is there is one of several", tunnel.Drivers(), []string{k, u}, u, plan{drivers: []string{k, u}}},
		{"one is allowed", []string{u}, []string{k, u}, "", plan{drivers: []string{u}}},
		{"none is allowed", []string{tunnel.WireGuardKernel}, []string{k, u}, "", plan{}},
		{"none is allowed, one is there", []string{tunnel.WireGuardKernel}, []string{k, u}, k, plan{drivers: []string{k}, retired: true}},
		{"another is allowed", []string{u}, []string{k, u}, k, plan{drivers: []string{k}, next: u}},
		{"another is allowed that the host lacks", []string{k}, []string{u}, u, plan{drivers: []string{u}, retired: true}},
	} {
		got := planFor(tunnel.IPsec, c.allowed, c.found, func(name string) error {
			if slices.Contains(c.can, name) {
				return nil
			}
			return fmt.Errorf("%s: %w", name, tunnel.ErrUnsupported)
		})
		if !slices.Equal(got.drivers, c.want.drivers) || got.retired != c.want.retired || got.next != c.want.next {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}
