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
	ports, err := parsePorts(s)
	if err != nil {
		return nil, fmt.Errorf("parse ports %.40q: %w", s, err)
	}
	return ports, nil
}

func parsePorts(s string) ([]PortRange, error) {
	var ports []PortRange
	items := strings.Split(s, ",")
	for i, item := range items {
		r, err := parsePortRange(item)
		if err != nil && len(items) > 1 {
			err = fmt.Errorf("item %d: %w", i+1, err)
		}
		if err != nil {
			return nil, err
		}
		ports = append(ports, r)
	}
	if ports = mergePorts(ports); len(ports) > MaxPorts {
		return nil, validatePorts(ports)
	}
	return ports, nil
}

// FormatPorts is the twin of [ParsePorts]; no ports give the empty string.
func FormatPorts(ports []PortRange) string { return string(appendPorts(nil, ports)) }

func appendPorts(b []byte, ports []PortRange) []byte {
	for i, r := range ports {
		if i > 0 {
			b = append(b, ',')
		}
		b = r.append(b)
	}
	return b
}

// String is the range as [ParsePorts] reads it: "80" or "8000-8100".
func (r PortRange) String() string { return string(r.append(nil)) }

func (r PortRange) append(b []byte) []byte {
	b = strconv.AppendUint(b, uint64(r.First), 10)
	if r.First != r.Last {
		b = strconv.AppendUint(append(b, '-'), uint64(r.Last), 10)
	}
	return b
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
// argument alone, or returns it if that is merged.
func mergePorts(ports []PortRange) []PortRange {
	if len(ports) == 0 {
		return nil
	}
	if isMerged(ports) {
		return ports
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

// isMerged tells whether ranges are sorted, and none overlaps or adjoins another.
func isMerged(ports []PortRange) bool {
	for i := 1; i < len(ports); i++ {
		if uint32(ports[i].First) <= uint32(ports[i-1].Last)+1 {
			return false
		}
	}
	return true
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
	if !isMerged(ports) {
		return fmt.Errorf("ports %s are not sorted and merged: write %s", FormatPorts(ports), FormatPorts(mergePorts(ports)))
	}
	return nil
}
