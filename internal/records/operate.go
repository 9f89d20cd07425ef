package records

import (
	"fmt"
	"strconv"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

const (
	// MaxTests is how many policy tests a VPC may have.
	MaxTests = policy.MaxAssertions
	// maxAssertion bounds the text of one, in bytes.
	maxAssertion = 512
)

// VPCKey is the key of a record of which each VPC has one: tests and shadow.
func VPCKey(vni uint32) string { return strconv.FormatUint(uint64(vni), 10) }

// SplitVPCKey is the twin of VPCKey.
func SplitVPCKey(key string) (uint32, error) {
	n, err := strconv.ParseUint(key, 10, 32)
	if err != nil || n == 0 || n > MaxVNI || VPCKey(uint32(n)) != key {
		return 0, fmt.Errorf("key %q: VNI: want 1 to %d", key, MaxVNI)
	}
	return uint32(n), nil
}

// DecodeTests decodes a record that has passed Validate.
func DecodeTests(r mesh.Record) (*Tests, error) { return decode(r.Payload, &Tests{}) }

// DecodeShadow decodes a record that has passed Validate.
func DecodeShadow(r mesh.Record) (*Shadow, error) { return decode(r.Payload, &Shadow{}) }

// PolicyGroups are the candidate groups as pkg/policy has them.
func (s *Shadow) PolicyGroups() ([]policy.Group, error) {
	groups, sum, seen := make([]policy.Group, 0, len(s.GetGroups())), 0, map[string]bool{}
	for _, g := range s.GetGroups() {
		if sum += len(g.GetRules()); sum > MaxRules {
			return nil, fmt.Errorf("more than %d rules", MaxRules)
		}
		if seen[g.GetName()] {
			return nil, fmt.Errorf("group %q is there twice", g.GetName())
		}
		seen[g.GetName()] = true
		rules, err := (&Group{Rules: g.GetRules()}).PolicyRules()
		if err != nil {
			return nil, fmt.Errorf("group %q: %w", g.GetName(), err)
		}
		one := policy.Group{Name: g.GetName(), Rules: rules}
		if err := one.Validate(); err != nil {
			return nil, err
		}
		groups = append(groups, one)
	}
	return groups, nil
}

// validateTests does not read the assertions: a version that knows more of them
// may have written some, and refusing the record would refuse the others, too.
func validateTests(r mesh.Record) error {
	if _, err := SplitVPCKey(r.Key); err != nil {
		return fmt.Errorf("tests: %w", err)
	}
	t, err := decodeNew(r.Payload, &Tests{})
	if err != nil {
		return fmt.Errorf("tests of VNI %s: %w", r.Key, err)
	}
	if len(t.GetTests()) > MaxTests {
		return fmt.Errorf("tests of VNI %s: there are %d: at most %d", r.Key, len(t.GetTests()), MaxTests)
	}
	for _, one := range t.GetTests() {
		if n := len(one.GetAssertion()); n == 0 || n > maxAssertion {
			return fmt.Errorf("tests of VNI %s: assertion of %d bytes: want 1 to %d", r.Key, n, maxAssertion)
		}
	}
	return nil
}

func validateShadow(r mesh.Record) error {
	if _, err := SplitVPCKey(r.Key); err != nil {
		return fmt.Errorf("shadow: %w", err)
	}
	s, err := decodeNew(r.Payload, &Shadow{})
	if err != nil {
		return fmt.Errorf("shadow of VNI %s: %w", r.Key, err)
	}
	if _, err := s.PolicyGroups(); err != nil {
		return fmt.Errorf("shadow of VNI %s: %w", r.Key, err)
	}
	return nil
}
