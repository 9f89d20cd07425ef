package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/audit"
	"edgenet.dev/edgenet/pkg/policy"
)

// change is something that somebody asks to change.
type change struct {
	// vpc is nil for what is about all.
	vpc *vpc
	// words say what it is.
	words string
	// force is true if it is to be made whatever it breaks.
	force bool
}

// guardRules makes a change of rules unless it breaks a policy test that is not
// broken already. next has the groups that change, with all their rules.
func (d *Daemon) guardRules(ctx context.Context, c change, next map[string][]policy.Rule, put func() error) error {
	kept, err := d.tests(c.vpc)
	if err != nil {
		return err
	}
	if len(kept.GetTests()) == 0 {
		return put()
	}
	now := c.vpc.whole()
	broken := brokenOf(runTests(c.vpc, withRules(now, next), kept))
	if len(broken) > 0 {
		before := map[string]bool{}
		for _, t := range brokenOf(runTests(c.vpc, now, kept)) {
			before[t.GetAssertion()] = true
		}
		broken = slices.DeleteFunc(broken, func(t *api.PolicyTest) bool { return before[t.GetAssertion()] })
	}
	return d.guard(ctx, c, broken, put)
}

// guard makes a change that breaks nothing. One that does is refused, or is
// forced; then note is kept of it before it is made.
func (d *Daemon) guard(ctx context.Context, c change, broken []*api.PolicyTest, put func() error) error {
	if len(broken) == 0 {
		return put()
	}
	if !c.force {
		return precondition("it would break %s; nothing was changed; force overrides", testsInWords(broken))
	}
	d.log.Warn("change is forced", "vpc", c.vpc.name, "who", Caller(ctx), "what", c.words, "breaks", testsInWords(broken))
	return d.noted(ctx, c, broken, put)
}

// noted makes a change of which note is kept before it is made.
func (d *Daemon) noted(ctx context.Context, c change, broken []*api.PolicyTest, put func() error) error {
	entry := audit.Entry{Time: time.Now().UTC(), Who: Caller(ctx), What: c.words}
	if c.vpc != nil {
		entry.VPC = c.vpc.name
	}
	for _, t := range broken {
		entry.Broken = append(entry.Broken, audit.Broken{Test: t.GetAssertion(), Why: t.GetWhy()})
	}
	if err := d.audit.Append(entry); err != nil {
		return fmt.Errorf("no note can be kept of it: %w", err)
	}
	err := put()
	if err == nil {
		return nil
	}
	entry.Time, entry.Failed = time.Now().UTC(), err.Error()
	return errors.Join(err, d.audit.Append(entry))
}

// testsInWords names a few tests and their counter-examples.
func testsInWords(broken []*api.PolicyTest) string {
	const few = 3
	words := make([]string, 0, few)
	for _, t := range broken[:min(len(broken), few)] {
		words = append(words, fmt.Sprintf("policy test %q: %s", t.GetAssertion(), t.GetWhy()))
	}
	if more := len(broken) - few; more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, "; ")
}

// withRules is the VPC with other rules of some groups, and no candidate.
func withRules(v policy.VPC, next map[string][]policy.Rule) policy.VPC {
	v.Shadow = nil
	groups := slices.Clone(v.Groups)
	for i := range groups {
		if rules, ok := next[groups[i].Name]; ok {
			groups[i].Rules = rules
		}
	}
	v.Groups = groups
	return v
}

// ListAudit returns what was forced on this node, which policy tests were
// removed, and what it changed of the tunnel policy, of grants and of settings, the oldest first.
func (d *Daemon) ListAudit() ([]*api.AuditEntry, error) {
	entries, err := d.audit.List()
	if err != nil {
		return nil, fmt.Errorf("list audit entries: %w", err)
	}
	// One that is none any more has what it noted when it was.
	if len(entries) == 0 && !d.IsAuthority() {
		return nil, d.noAudit()
	}
	out := make([]*api.AuditEntry, 0, len(entries))
	for _, e := range entries {
		one := &api.AuditEntry{Time: timestamp(e.Time.UnixMilli()), Who: e.Who, Vpc: e.VPC, What: e.What, Failed: e.Failed}
		for _, b := range e.Broken {
			one.Broken = append(one.Broken, &api.PolicyTest{Vpc: e.VPC, Assertion: b.Test, State: testBroken, Why: b.Why})
		}
		out = append(out, one)
	}
	return out, nil
}

// noAudit says where note is kept of changes, which is not on this node.
func (d *Daemon) noAudit() error {
	var authorities []string
	for _, n := range d.mesh.Authorities() {
		authorities = append(authorities, n.Name)
	}
	if len(authorities) == 0 {
		return precondition("list audit entries: this node is no authority, and knows none")
	}
	return precondition("list audit entries: this node is no authority; each authority notes what it did: ask on %s", strings.Join(authorities, ", "))
}

func brokenOf(results []*api.PolicyTest) []*api.PolicyTest {
	var broken []*api.PolicyTest
	for _, t := range results {
		if t.GetState() == testBroken {
			broken = append(broken, t)
		}
	}
	return broken
}

// wordsOf names groups for people.
func wordsOf(groups map[string][]policy.Rule) string {
	return strings.Join(slices.Sorted(maps.Keys(groups)), ", ")
}
