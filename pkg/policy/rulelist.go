package policy

import "slices"

// ruleList has the rules of one group in one direction that are enabled, in the
// order in which they decide. It is replaced, never changed.
type ruleList struct {
	rules []*compiledRule
	// allows is true if one of them allows.
	allows bool
}

// update returns the list with the rules of its direction replaced, or itself if
// there are none. A nil list is empty.
func (l *ruleList) update(dir Direction, gone, born []*compiledRule) *ruleList {
	counts := func(r *compiledRule) bool { return r.rule.Direction == dir && !r.rule.Disabled }
	born = slices.DeleteFunc(slices.Clone(born), func(r *compiledRule) bool { return !counts(r) })
	if l != nil && len(born) == 0 && !slices.ContainsFunc(gone, counts) {
		return l
	}
	next := &ruleList{}
	if l != nil {
		next.rules = slices.Clone(l.rules)
	}
	removed := make(map[*compiledRule]bool, len(gone))
	for _, r := range gone {
		removed[r] = true
	}
	next.rules = slices.DeleteFunc(next.rules, func(r *compiledRule) bool { return removed[r] })
	slices.SortFunc(born, (*compiledRule).before)
	next.rules = mergeRules(next.rules, born)
	next.allows = slices.ContainsFunc(next.rules, func(r *compiledRule) bool { return r.rule.Action == Allow })
	return next
}

// all are the rules.
func (l *ruleList) all() []*compiledRule {
	if l == nil {
		return nil
	}
	return l.rules
}

// has tells whether there are any rules.
func (l *ruleList) has() bool { return l != nil && len(l.rules) > 0 }

// mergeLists is the rules of several lists in the order in which they decide.
func mergeLists(lists []*ruleList) []*compiledRule {
	switch len(lists) {
	case 0:
		return nil
	case 1:
		return lists[0].rules
	}
	half := len(lists) / 2
	return mergeRules(mergeLists(lists[:half]), mergeLists(lists[half:]))
}

func mergeRules(a, b []*compiledRule) []*compiledRule {
	if len(a) == 0 || len(b) == 0 {
		return append(a[:len(a):len(a)], b...)
	}
	merged := make([]*compiledRule, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0].before(b[0]) < 0 {
			merged, a = append(merged, a[0]), a[1:]
		} else {
			merged, b = append(merged, b[0]), b[1:]
		}
	}
	return append(append(merged, a...), b...)
}
