package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// MaxPorts is how many ports and ranges one rule may have.
const MaxPorts = 256

// ParsePorts reads a list of ports and ranges, for instance "80,8000-8100".
// Ports are 1 to 65535, and a range begins with the lower one. The result is
// sorted, and what overlaps or adjoins is one range.
func ParsePorts(s string) ([]PortRange, error) {
	var ports []PortRange
	for i, item := range strings.Split(s, ",") {
		r, err := parsePortRange(item)
		if err != nil {
			return nil, fmt.Errorf("parse ports %q: item %d: %w", s, i+1, err)
		}
		ports = append(ports, r)
	}
	if ports = mergePorts(ports); len(ports) > MaxPorts {
		return nil, fmt.Errorf("parse ports: %w", validatePorts(ports))
	}
	return ports, nil
}

// FormatPorts is the twin of [ParsePorts]; no ports give the empty string.
func FormatPorts(ports []PortRange) string {
	items := make([]string, len(ports))
	for i, r := range ports {
		items[i] = r.String()
	}
	return strings.Join(items, ",")
}

// String is the range as [ParsePorts] reads it: "80" or "8000-8100".
func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

func parsePortRange(item string) (PortRange, error) {
	if item == "" {
		return PortRange{}, errors.New("empty: write ports and ranges as in 80,8000-8100")
	}
	low, high, isRange := strings.Cut(item, "-")
	first, err := parsePort(low)
	if err != nil {
		return PortRange{}, err
	}
	if !isRange {
		return PortRange{First: first, Last: first}, nil
	}
	last, err := parsePort(high)
	if err != nil {
		return PortRange{}, err
	}
	if first > last {
		return PortRange{}, fmt.Errorf("%q runs backwards: write %d-%d", item, last, first)
	}
	return PortRange{First: first, Last: last}, nil
}

func parsePort(s string) (uint16, error) {
	n, ok := parseNumber(s, 16)
	if !ok || n == 0 {
		return 0, fmt.Errorf("%q is no port: write a number from 1 to 65535", s)
	}
	return uint16(n), nil
}

// mergePorts sorts the ranges and joins what overlaps or adjoins. It leaves its
// argument alone.
func mergePorts(ports []PortRange) []PortRange {
	if len(ports) == 0 {
		return nil
	}
	sorted := slices.Clone(ports)
	slices.SortFunc(sorted, func(a, b PortRange) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
	})
	merged := sorted[:1]
	for _, r := range sorted[1:] {
		top := &merged[len(merged)-1]
		if uint32(r.First) > uint32(top.Last)+1 {
			merged = append(merged, r)
			continue
		}
		top.Last = max(top.Last, r.Last)
	}
	return merged
}

// validatePorts accepts exactly what [ParsePorts] returns.
func validatePorts(ports []PortRange) error {
	if len(ports) > MaxPorts {
		return fmt.Errorf("%d ports and ranges: at most %d are possible in one rule", len(ports), MaxPorts)
	}
	for _, r := range ports {
		if r.First == 0 || r.First > r.Last {
			return fmt.Errorf("ports %s: a range is from 1 to 65535 and begins with the lower port", r)
		}
	}
	if merged := mergePorts(ports); !slices.Equal(merged, ports) {
		return fmt.Errorf("ports %s are not sorted and merged: write %s", FormatPorts(ports), FormatPorts(merged))
	}
	return nil
}
