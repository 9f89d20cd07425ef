package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ParseICMP reads a type as "8", or a type and a code as "3/4". Nothing means
// every type.
func ParseICMP(s string) (ICMP, error) {
	m, err := parseICMP(s)
	if err != nil {
		return ICMP{}, fmt.Errorf("parse ICMP type %q: %w", s, err)
	}
	return m, nil
}

func parseICMP(s string) (ICMP, error) {
	if s == "" {
		return ICMP{}, nil
	}
	typeText, codeText, hasCode := strings.Cut(s, "/")
	icmpType, ok := parseNumber(typeText, 8)
	if !ok {
		return ICMP{}, fmt.Errorf("%q is no type: write a number from 0 to 255, as 8, or type and code, as 3/4", typeText)
	}
	m := ICMP{HasType: true, Type: uint8(icmpType), HasCode: hasCode}
	if hasCode {
		code, ok := parseNumber(codeText, 8)
		if !ok {
			return ICMP{}, fmt.Errorf("%q is no code: write a number from 0 to 255, as 3/4", codeText)
		}
		m.Code = uint8(code)
	}
	return m, nil
}

// String is the twin of [ParseICMP].
func (m ICMP) String() string {
	switch {
	case !m.HasType:
		return ""
	case !m.HasCode:
		return strconv.Itoa(int(m.Type))
	default:
		return fmt.Sprintf("%d/%d", m.Type, m.Code)
	}
}

// validate accepts exactly what [ParseICMP] returns.
func (m ICMP) validate() error {
	if !m.HasType && m != (ICMP{}) {
		return errors.New("ICMP code without a type: set the type too")
	}
	if !m.HasCode && m.Code != 0 {
		return fmt.Errorf("ICMP code %d is set and does not count: set HasCode", m.Code)
	}
	return nil
}
