package policy

import (
	"cmp"
	"fmt"
	"strconv"
)

// DefaultPriority is the number of a priority that nobody set.
const DefaultPriority = 1000

// Priority orders rules: the lower number decides. It is made by [PriorityOf];
// its zero value is [DefaultPriority], so that a rule of which nobody said
// anything has that one, and equal priorities are equal values.
type Priority struct {
	// offset is the distance from the default.
	offset int32
}

// PriorityOf is the priority with this number. Every number is possible.
func PriorityOf(number uint16) Priority {
	return Priority{offset: int32(number) - DefaultPriority}
}

// Number is from 0, which decides before all others, to 65535.
func (p Priority) Number() uint16 { return uint16(p.offset + DefaultPriority) }

// Compare is negative if p decides before q.
func (p Priority) Compare(q Priority) int { return cmp.Compare(p.offset, q.offset) }

// String is the number.
func (p Priority) String() string { return strconv.Itoa(int(p.Number())) }

// ParsePriority reads a number from 0 to 65535. Nothing means the default.
func ParsePriority(s string) (Priority, error) {
	if s == "" {
		return Priority{}, nil
	}
	n, ok := parseNumber(s, 16)
	if !ok {
		return Priority{}, fmt.Errorf("parse priority %q: write a number from 0, which decides first, to 65535", s)
	}
	return PriorityOf(uint16(n)), nil
}

// parseNumber is stricter than strconv: no sign and no leading zero, so that a
// number is written in one way only.
func parseNumber(s string, bits int) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil || s[0] == '+' || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	return n, true
}
