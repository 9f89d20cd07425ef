package tunnel

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Technology is what encrypts a tunnel. Both ends of one have the same; where
// each runs it, in the kernel or in userspace, is its own affair.
type Technology string

// The technologies.
const (
	WireGuard Technology = "wireguard"
	IPsec     Technology = "ipsec"
)

// Technologies returns all of them.
func Technologies() []Technology { return []Technology{WireGuard, IPsec} }

// ParseTechnology is the inverse of the conversion to string.
func ParseTechnology(text string) (Technology, error) {
	switch t := Technology(text); t {
	case WireGuard, IPsec:
		return t, nil
	}
	return "", fmt.Errorf("parse technology %q: write %s or %s", text, WireGuard, IPsec)
}

// End is what the choice of a tunnel follows from at one of its nodes. Both
// nodes have to know the same of both ends.
type End struct {
	// Node is the node's name.
	Node string
	// Roles are those of its certificate.
	Roles []string
	// Drivers are the names of what it has announced to run; others than those
	// of Drivers() are ignored.
	Drivers []string
	// Excluded are the names of what its operator lets it not run. Nothing follows
	// from them but words.
	Excluded []string
	// Lacks says why it runs nothing, if it does not.
	Lacks string
	// Leaving is the technology whose driver it is about to replace by the other one:
	// who has a choice goes over to another technology until that is done. Empty if it
	// replaces none.
	Leaving Technology
}

// runs returns the driver by which the end runs a technology, the kernel's
// before the other; empty if it does not.
func (e End) runs(t Technology) string {
	for _, name := range DriversOf(t) {
		if slices.Contains(e.Drivers, name) {
			return name
		}
	}
	return ""
}

// Choice says how two nodes reach each other.
type Choice struct {
	Technology Technology
	// Local and Remote are the drivers of the two ends.
	Local, Remote string
	// Why is the reason, in words.
	Why string
}

// preferences are the ways to run a tunnel without a policy, the fastest first:
// docs/tunnels.md has the figures. A tunnel is as fast as its slower end.
var preferences = []struct {
	technology Technology
	// kernels is true for both ends in the kernel.
	kernels bool
	words   string
}{
	{WireGuard, true, "the fastest that both have: WireGuard in both kernels"},
	{IPsec, true, "the fastest that both have: IPsec in both kernels"},
	{WireGuard, false, "the fastest that both have: WireGuard, in userspace on "},
	{IPsec, false, "the fastest that both have: IPsec, in userspace on "},
}

// Choose says how two nodes reach each other: by the technology that the policy
// has for them, else by the fastest that both have. Called with the two ends
// exchanged it says the same of the same ends, so that both nodes choose alike
// without asking each other.
//
// An error means that there must be no tunnel, and says why: a policy that the
// nodes cannot fulfil is never replaced by something else.
func Choose(local, remote End, p Policy) (Choice, error) {
	c, err := decide(local, remote, p)
	if err != nil {
		return c, errors.New(err.Error() + exclusions(local, remote))
	}
	c.Why += exclusions(local, remote)
	return c, nil
}

func decide(local, remote End, p Policy) (Choice, error) {
	if rule, ok := p.Find(local, remote); ok {
		return fulfil(rule, local, remote)
	}
	var left *Choice
	var leaving string
	for _, want := range preferences {
		l, r := local.runs(want.technology), remote.runs(want.technology)
		kernel := DriversOf(want.technology)[0]
		if l == "" || r == "" || want.kernels && (l != kernel || r != kernel) {
			continue
		}
		c := Choice{Technology: want.technology, Local: l, Remote: r, Why: want.words}
		if !want.kernels {
			c.Why += strings.Join(inUserspace(kernel, local, remote, l, r), " and ")
		}
		if words := replacing(want.technology, local, remote); words != "" {
			if left == nil {
				left, leaving = &c, words
			}
			continue
		}
		c.Why += leaving
		return c, nil
	}
	if left != nil {
		return *left, nil
	}
	return Choice{}, nothingInCommon(local, remote)
}

// replacing says which of two nodes replace their driver of a technology, empty if
// none does.
func replacing(t Technology, local, remote End) string {
	var names []string
	for _, e := range []End{local, remote} {
		if e.Leaving == t {
			names = append(names, e.Node)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return "; the driver of " + string(t) + " is being replaced on " + strings.Join(names, " and ")
}

// fulfil is the choice of a rule.
func fulfil(rule Rule, local, remote End) (Choice, error) {
	l, r := local.runs(rule.Technology), remote.runs(rule.Technology)
	var lack []string
	if l == "" {
		lack = append(lack, local.Node)
	}
	if r == "" {
		lack = append(lack, remote.Node)
	}
	if len(lack) > 0 {
		slices.Sort(lack)
		return Choice{}, fmt.Errorf("tunnel policy %s: not possible on %s", rule, strings.Join(lack, " and "))
	}
	return Choice{Technology: rule.Technology, Local: l, Remote: r, Why: "tunnel policy " + rule.String()}, nil
}

// exclusions say what operators have excluded, by node.
func exclusions(ends ...End) string {
	slices.SortFunc(ends, func(a, b End) int { return strings.Compare(a.Node, b.Node) })
	var words string
	for _, e := range ends {
		if len(e.Excluded) > 0 {
			words += "; tunnel-drivers of " + e.Node + " excludes " + strings.Join(e.Excluded, ", ")
		}
	}
	return words
}

// inUserspace names the ends that do not run the kernel's driver, sorted.
func inUserspace(kernel string, local, remote End, l, r string) []string {
	var names []string
	if l != kernel {
		names = append(names, local.Node)
	}
	if r != kernel {
		names = append(names, remote.Node)
	}
	slices.Sort(names)
	return names
}

func nothingInCommon(local, remote End) error {
	ends := []End{local, remote}
	slices.SortFunc(ends, func(a, b End) int { return strings.Compare(a.Node, b.Node) })
	words := make([]string, 0, len(ends))
	for _, e := range ends {
		var has []string
		for _, t := range Technologies() {
			if e.runs(t) != "" {
				has = append(has, string(t))
			}
		}
		if len(has) == 0 {
			return errors.New(strings.TrimSuffix("node "+e.Node+" has no way to encrypt: "+e.Lacks, ": "))
		}
		words = append(words, "node "+e.Node+" has "+strings.Join(has, " and "))
	}
	return errors.New("nothing in common: " + strings.Join(words, ", "))
}
