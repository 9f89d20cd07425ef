package tunnel

import (
	"fmt"
	"slices"
	"strings"
)

// Drivers' names, as Driver.Name has them.
const (
	WireGuardKernel    = "wireguard-kernel"
	WireGuardUserspace = "wireguard-userspace"
	IPsecKernel        = "ipsec-kernel"
	IPsecUserspace     = "ipsec-userspace"
)

// Drivers returns all names, in the order of Technologies, the kernel's before the
// other.
func Drivers() []string {
	var all []string
	for _, t := range Technologies() {
		all = append(all, DriversOf(t)...)
	}
	return all
}

// DriversOf returns the names of a technology's drivers, the kernel's first.
func DriversOf(t Technology) []string {
	if t == IPsec {
		return []string{IPsecKernel, IPsecUserspace}
	}
	return []string{WireGuardKernel, WireGuardUserspace}
}

// ParseDrivers checks that names are drivers', at least one and none twice, and
// returns them in the order of Drivers.
func ParseDrivers(names []string) ([]string, error) {
	all := Drivers()
	var out []string
	for i, name := range names {
		switch {
		case !slices.Contains(all, name):
			return nil, fmt.Errorf("%q: want some of %s", name, strings.Join(all, ", "))
		case slices.Contains(names[:i], name):
			return nil, fmt.Errorf("%s: is there twice", name)
		}
	}
	for _, name := range all {
		if slices.Contains(names, name) {
			out = append(out, name)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("is empty; want some of %s", strings.Join(all, ", "))
	}
	return out, nil
}
