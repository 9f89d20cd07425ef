package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// MaxExcept is how many exceptions one rule may have.
const MaxExcept = 64

// ParseExcept reads exceptions from a CIDR: CIDRs or addresses inside it. The
// result is sorted, and without those that another one has in it.
func ParseExcept(of netip.Prefix, list []string) ([]netip.Prefix, error) {
	if len(list) == 0 {
		return nil, nil
	}
	except := make([]netip.Prefix, 0, len(list))
	for _, s := range list {
		cidr, ok := parseCIDR(s)
		if !ok {
			return nil, fmt.Errorf("parse exception %q: write a CIDR (10.0.0.0/24) or an address (10.0.0.7)", s)
		}
		if err := validateException(of, cidr); err != nil {
			return nil, fmt.Errorf("parse exception %q: %w", s, err)
		}
		except = append(except, cidr)
	}
	except = mergeExcept(except)
	return except, validateExcept(of, except)
}

// FormatExcept is the exceptions as text, each for itself.
func FormatExcept(except []netip.Prefix) []string {
	if len(except) == 0 {
		return nil
	}
	list := make([]string, len(except))
	for i, cidr := range except {
		list[i] = cidr.String()
	}
	return list
}

// mergeExcept sorts exceptions and leaves out those inside others. It leaves
// its argument alone.
func mergeExcept(except []netip.Prefix) []netip.Prefix {
	// The order is by address, then by length, so that what contains a CIDR
	// stands before it, with nothing between them that it does not contain too.
	sorted := slices.Clone(except)
	slices.SortFunc(sorted, netip.Prefix.Compare)
	var merged []netip.Prefix
	for _, cidr := range sorted {
		if n := len(merged); n > 0 && merged[n-1].Overlaps(cidr) {
			continue
		}
		merged = append(merged, cidr)
	}
	return merged
}

// validateExcept accepts exactly what [ParseExcept] returns.
func validateExcept(of netip.Prefix, except []netip.Prefix) error {
	if len(except) > MaxExcept {
		return fmt.Errorf("%s has %d exceptions: at most %d are possible", of, len(except), MaxExcept)
	}
	for _, cidr := range except {
		if err := validateException(of, cidr); err != nil {
			return fmt.Errorf("exception: %w", err)
		}
	}
	if merged := mergeExcept(except); !slices.Equal(merged, except) {
		return fmt.Errorf("exceptions %s are not sorted and merged: write %s",
			strings.Join(FormatExcept(except), ","), strings.Join(FormatExcept(merged), ","))
	}
	return nil
}

func validateException(of, cidr netip.Prefix) error {
	if err := validateCIDR(cidr); err != nil {
		return err
	}
	if cidr.Bits() <= of.Bits() || !of.Contains(cidr.Addr()) {
		return fmt.Errorf("%s is no part of %s: write CIDRs inside it", cidr, of)
	}
	return nil
}
