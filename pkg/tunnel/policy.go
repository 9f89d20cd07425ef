package tunnel

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxRules is how many rules a policy may have.
const MaxRules = 1024

const (
	// maxRole and maxNode bound the words of a selector, in bytes; a node's name
	// is a DNS label.
	maxRole = 32
	maxNode = 63
)

// Selector says which pairs of nodes a rule is about. Its zero value is all.
type Selector struct {
	kind selectorKind
	// a and b are roles or names of nodes, a not behind b.
	a, b string
}

type selectorKind uint8

const (
	selectAny selectorKind = iota
	selectRoles
	selectNodes
)

const nodePrefix = "node:"

// ParseSelector parses any, ROLE-ROLE (as cloud-edge), or node:NAME,node:NAME.
// The order within a pair does not matter.
func ParseSelector(text string) (Selector, error) {
	if text == "any" {
		return Selector{}, nil
	}
	if strings.HasPrefix(text, nodePrefix) {
		a, b, _ := strings.Cut(text, ",")
		b, named := strings.CutPrefix(b, nodePrefix)
		a = strings.TrimPrefix(a, nodePrefix)
		switch {
		case !named || !isWord(a, maxNode, isNameByte) || !isWord(b, maxNode, isNameByte):
			return Selector{}, fmt.Errorf("parse nodes %q: write node:NAME,node:NAME", text)
		case a == b:
			return Selector{}, fmt.Errorf("parse nodes %q: it is the same node twice", text)
		}
		return Selector{kind: selectNodes, a: min(a, b), b: max(a, b)}, nil
	}
	a, b, _ := strings.Cut(text, "-")
	if !isWord(a, maxRole, isLetter) || !isWord(b, maxRole, isLetter) {
		return Selector{}, fmt.Errorf("parse nodes %q: write any, two roles as cloud-edge, or node:NAME,node:NAME", text)
	}
	return Selector{kind: selectRoles, a: min(a, b), b: max(a, b)}, nil
}

func isWord(s string, most int, of func(byte) bool) bool {
	if s == "" || len(s) > most {
		return false
	}
	for i := range len(s) {
		if !of(s[i]) {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' }

func isNameByte(c byte) bool { return isLetter(c) || c >= '0' && c <= '9' || c == '-' }

// String is the one form that ParseSelector gives equal selectors.
func (s Selector) String() string {
	switch s.kind {
	case selectRoles:
		return s.a + "-" + s.b
	case selectNodes:
		return nodePrefix + s.a + "," + nodePrefix + s.b
	case selectAny:
	}
	return "any"
}

// Roles are the two roles of a selector by roles; ok is false for others.
func (s Selector) Roles() (a, b string, ok bool) { return s.a, s.b, s.kind == selectRoles }

// Nodes are the two names of a selector by nodes; ok is false for others.
func (s Selector) Nodes() (a, b string, ok bool) { return s.a, s.b, s.kind == selectNodes }

// Rule says what pairs of nodes have to use.
type Rule struct {
	Between    Selector
	Technology Technology
}

// String is the rule in words.
func (r Rule) String() string { return r.Between.String() + ": " + string(r.Technology) }

// Policy is a list of rules. Its zero value has none.
type Policy struct {
	rules []Rule
	// exact has the rules for two nodes and the one for any.
	exact map[Selector]Rule
	// roles are the rules by roles, in their order.
	roles []Rule
}

// NewPolicy checks rules and makes them a policy. No two may be about the same
// pairs.
func NewPolicy(rules []Rule) (Policy, error) {
	if len(rules) > MaxRules {
		return Policy{}, fmt.Errorf("%d rules: at most %d", len(rules), MaxRules)
	}
	p := Policy{exact: make(map[Selector]Rule, len(rules))}
	seen := make(map[Selector]bool, len(rules))
	for _, r := range rules {
		if seen[r.Between] {
			return Policy{}, fmt.Errorf("two rules for %s", r.Between)
		}
		seen[r.Between] = true
		if r.Technology != WireGuard && r.Technology != IPsec {
			return Policy{}, errors.New("rule without a technology")
		}
		if r.Between.kind == selectRoles {
			p.roles = append(p.roles, r)
			continue
		}
		p.exact[r.Between] = r
	}
	p.rules = slices.Clone(rules)
	slices.SortStableFunc(p.rules, func(a, b Rule) int {
		if a.Between.kind == selectNodes && b.Between.kind == selectNodes {
			return strings.Compare(a.Between.String(), b.Between.String())
		}
		return int(b.Between.kind) - int(a.Between.kind)
	})
	return p, nil
}

// Rules are all rules in the order in which they are looked at: those for two
// nodes, those by roles as they were given, and the one for any.
func (p Policy) Rules() []Rule { return slices.Clone(p.rules) }

// With is the policy with one more rule. One that is there for the same pairs
// gives it its place.
func (p Policy) With(r Rule) (Policy, error) {
	rules := p.Rules()
	if i := p.index(r.Between); i >= 0 {
		rules[i] = r
	} else {
		rules = append(rules, r)
	}
	return NewPolicy(rules)
}

// Without is the policy without the rule for these pairs, and whether there was
// one.
func (p Policy) Without(s Selector) (Policy, bool) {
	i := p.index(s)
	if i < 0 {
		return p, false
	}
	// Rules that are good are so without one of them.
	next, err := NewPolicy(slices.Delete(p.Rules(), i, i+1))
	return next, err == nil
}

func (p Policy) index(s Selector) int {
	return slices.IndexFunc(p.rules, func(r Rule) bool { return r.Between == s })
}

// Find returns the rule for two nodes, in either order: the one that names them;
// else the first by roles that fits, since a node may have several; else that
// for any. ok is false if there is none.
func (p Policy) Find(a, b End) (rule Rule, ok bool) {
	named := Selector{kind: selectNodes, a: min(a.Node, b.Node), b: max(a.Node, b.Node)}
	if rule, ok = p.exact[named]; ok {
		return rule, true
	}
	for _, rule := range p.roles {
		x, y := rule.Between.a, rule.Between.b
		if slices.Contains(a.Roles, x) && slices.Contains(b.Roles, y) ||
			slices.Contains(a.Roles, y) && slices.Contains(b.Roles, x) {
			return rule, true
		}
	}
	rule, ok = p.exact[Selector{}]
	return rule, ok
}
