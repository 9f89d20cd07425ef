package records

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// maxTime bounds the times of grants and settings, in milliseconds since 1970: the
// end of the year 9999, the last that an API's timestamp can be.
const maxTime = 253402300799999

// DecodeGrant decodes a record that has passed Validate.
func DecodeGrant(r mesh.Record) (*Grant, error) { return decode(r.Payload, &Grant{}) }

// DecodeSettings decodes a record that has passed Validate.
func DecodeSettings(r mesh.Record) (*Settings, error) { return decode(r.Payload, &Settings{}) }

// GrantOf is a grant in its one form.
func GrantOf(ips []netip.Addr, prefixes []netip.Prefix, groups []string) *Grant {
	g := &Grant{Groups: slices.Compact(slices.Sorted(slices.Values(groups)))}
	for _, ip := range slices.Compact(slices.SortedFunc(slices.Values(ips), netip.Addr.Compare)) {
		g.Ips = append(g.Ips, ip.String())
	}
	for _, p := range slices.Compact(slices.SortedFunc(slices.Values(prefixes), netip.Prefix.Compare)) {
		g.Prefixes = append(g.Prefixes, p.String())
	}
	return g
}

// Addresses are those of a grant that has passed Validate.
func (g *Grant) Addresses() ([]netip.Addr, error) {
	return each(g.GetIps(), MaxAddresses, "ips", ParseAddress, netip.Addr.Compare)
}

// Routed are the prefixes of a grant that has passed Validate.
func (g *Grant) Routed() ([]netip.Prefix, error) {
	return each(g.GetPrefixes(), MaxPrefixes, "prefixes", ParseRouted, netip.Prefix.Compare)
}

// Expires is when the grant ends; zero is never.
func (g *Grant) Expires() time.Time { return momentOf(g.GetExpiresMs()) }

// RequiredFrom is when endpoints begin to need a grant, if they do; zero is at once.
func (s *Settings) RequiredFrom() time.Time { return momentOf(s.GetRequiredFromMs()) }

func momentOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// each parses the texts of a list that is in order and has each item once, in its one
// form.
func each[T fmt.Stringer](texts []string, most int, what string, parse func(string) (T, error), compare func(T, T) int) ([]T, error) {
	if n := len(texts); n > most {
		return nil, fmt.Errorf("%d %s: at most %d", n, what, most)
	}
	out := make([]T, 0, len(texts))
	for i, text := range texts {
		item, err := parse(text)
		switch {
		case err != nil:
			return nil, err
		case item.String() != text:
			return nil, fmt.Errorf("%s: %q: want it written as %s", what, text, item)
		case i > 0 && compare(out[i-1], item) >= 0:
			return nil, fmt.Errorf("%s: %s after %s: want them in order, each once", what, item, out[i-1])
		}
		out = append(out, item)
	}
	return out, nil
}

// Check says what is wrong with a grant, whatever its VPC.
func (g *Grant) Check() error {
	if _, err := g.Addresses(); err != nil {
		return err
	}
	if len(g.GetIps()) == 0 {
		return errors.New("no ip: want at least one")
	}
	if _, err := g.Routed(); err != nil {
		return err
	}
	if n := len(g.GetGroups()); n > MaxGroups {
		return fmt.Errorf("%d groups: at most %d", n, MaxGroups)
	}
	for i, name := range g.GetGroups() {
		if err := policy.ValidateName(name); err != nil {
			return fmt.Errorf("group: %w", err)
		}
		if i > 0 && strings.Compare(g.GetGroups()[i-1], name) >= 0 {
			return fmt.Errorf("groups: %s after %s: want them in order, each once", name, g.GetGroups()[i-1])
		}
	}
	return cmp.Or(checkMoment("expires", g.GetExpiresMs()), checkMoment("created", g.GetCreatedMs()))
}

func checkMoment(what string, ms int64) error {
	if ms < 0 || ms > maxTime {
		return fmt.Errorf("%s at %d ms: want 0 to %d", what, ms, int64(maxTime))
	}
	return nil
}

func validateGrant(r mesh.Record) error {
	if _, _, _, err := SplitEndpointKey(r.Key); err != nil {
		return fmt.Errorf("grant: %w", err)
	}
	if len(r.Payload) > maxEndpoint {
		return fmt.Errorf("grant %s: %d bytes: at most %d", r.Key, len(r.Payload), maxEndpoint)
	}
	g, err := decodeNew(r.Payload, &Grant{})
	if err != nil {
		return fmt.Errorf("grant %s: %w", r.Key, err)
	}
	if err := g.Check(); err != nil {
		return fmt.Errorf("grant %s: %w", r.Key, err)
	}
	return nil
}

func validateSettings(r mesh.Record) error {
	s, err := decodeNew(r.Payload, &Settings{})
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if err := checkMoment("required from", s.GetRequiredFromMs()); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	return nil
}
