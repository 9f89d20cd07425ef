package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// The states of a policy test.
var (
	testBroken    = policy.Broken.String()
	testUndecided = policy.Undecided.String()
)

// tests are the assertions that are kept with a VPC.
func (d *Daemon) tests(v *vpc) (*records.Tests, error) {
	rec, ok := d.mesh.Get(mesh.KindTests, records.VPCKey(v.vni()))
	if !ok {
		return &records.Tests{}, nil
	}
	kept, err := records.DecodeTests(rec)
	if err != nil {
		return nil, fmt.Errorf("policy tests of vpc %s: %w", v.name, err)
	}
	return kept, nil
}

// AddTest keeps an assertion with a VPC, and says what becomes of it. The same
// again changes nothing.
func (d *Daemon) AddTest(ctx context.Context, req *api.AddTestRequest) (*api.PolicyTest, error) {
	assertion, err := policy.ParseAssertion(req.GetAssertion())
	if err != nil {
		return nil, invalid("add policy test: %w", err)
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	v, kept, err := d.testsOf(req.GetVpc())
	if err != nil {
		return nil, fmt.Errorf("add policy test: %w", err)
	}
	check := func(t *records.Test) *api.PolicyTest {
		return runTests(v, v.whole(), &records.Tests{Tests: []*records.Test{t}})[0]
	}
	if i := indexTest(kept, assertion.String()); i >= 0 {
		return check(kept.GetTests()[i]), nil
	}
	if len(kept.GetTests()) >= records.MaxTests {
		return nil, precondition("add policy test: vpc %s has %d; at most %d", v.name, len(kept.GetTests()), records.MaxTests)
	}
	added := &records.Test{Assertion: assertion.String(), CreatedMs: time.Now().UnixMilli()}
	next := &records.Tests{Tests: append(slices.Clone(kept.GetTests()), added)}
	what := change{vpc: v, force: req.GetForce(), words: fmt.Sprintf("add policy test %q", assertion)}
	checked := check(added)
	broken := brokenOf([]*api.PolicyTest{checked})
	if len(broken) > 0 && !what.force {
		return nil, precondition("%s: it does not hold: %s; nothing was changed; force adds it all the same", what.words, checked.GetWhy())
	}
	if err := d.guard(ctx, what, broken, func() error {
		return d.putRecord(ctx, mesh.KindTests, records.VPCKey(v.vni()), next)
	}); err != nil {
		return nil, fmt.Errorf("add policy test: %w", err)
	}
	d.log.Info("policy test added", "vpc", v.name, "test", assertion.String())
	return checked, nil
}

// RemoveTest removes an assertion. Note is kept of it: what broke it before is
// refused no longer.
func (d *Daemon) RemoveTest(ctx context.Context, req *api.RemoveTestRequest) error {
	text := req.GetAssertion()
	// One that this version cannot read is removed by its exact words.
	if assertion, err := policy.ParseAssertion(text); err == nil {
		text = assertion.String()
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	v, kept, err := d.testsOf(req.GetVpc())
	if err != nil {
		return fmt.Errorf("remove policy test: %w", err)
	}
	i := indexTest(kept, text)
	if i < 0 {
		return notFound("remove policy test: vpc %s has no test %q; policy test list shows them", v.name, text)
	}
	next := &records.Tests{Tests: slices.Delete(slices.Clone(kept.GetTests()), i, i+1)}
	what := change{vpc: v, words: fmt.Sprintf("remove policy test %q", text)}
	if err := d.noted(ctx, what, nil, func() error {
		return d.putRecord(ctx, mesh.KindTests, records.VPCKey(v.vni()), next)
	}); err != nil {
		return fmt.Errorf("remove policy test: %w", err)
	}
	d.log.Info("policy test removed", "vpc", v.name, "test", text)
	return nil
}

func indexTest(kept *records.Tests, assertion string) int {
	return slices.IndexFunc(kept.GetTests(), func(t *records.Test) bool { return t.GetAssertion() == assertion })
}

func (d *Daemon) testsOf(vpcName string) (*vpc, *records.Tests, error) {
	v, ok := d.snapshot().vpcs[vpcName]
	if !ok {
		return nil, nil, notFound("vpc %q: not found", vpcName)
	}
	kept, err := d.tests(v)
	return v, kept, err
}

// ListTests returns the assertions of one VPC, or of all if vpcName is empty.
func (d *Daemon) ListTests(vpcName string) ([]*api.PolicyTest, error) {
	return d.eachTest(vpcName, func(v *vpc, kept *records.Tests) []*api.PolicyTest {
		out := make([]*api.PolicyTest, 0, len(kept.GetTests()))
		for _, t := range kept.GetTests() {
			out = append(out, apiTest(v, t))
		}
		return out
	})
}

// RunTests returns the assertions with what became of each, as this node knows
// rules and endpoints.
func (d *Daemon) RunTests(vpcName string) ([]*api.PolicyTest, error) {
	return d.eachTest(vpcName, func(v *vpc, kept *records.Tests) []*api.PolicyTest { return runTests(v, v.whole(), kept) })
}

func (d *Daemon) eachTest(vpcName string, of func(*vpc, *records.Tests) []*api.PolicyTest) ([]*api.PolicyTest, error) {
	s := d.snapshot()
	if _, ok := s.vpcs[vpcName]; !ok && vpcName != "" {
		return nil, notFound("vpc %q: not found", vpcName)
	}
	out := []*api.PolicyTest{}
	for _, name := range slices.Sorted(maps.Keys(s.vpcs)) {
		if vpcName != "" && name != vpcName {
			continue
		}
		kept, err := d.tests(s.vpcs[name])
		if err != nil {
			return nil, err
		}
		out = append(out, of(s.vpcs[name], kept)...)
	}
	return out, nil
}

func apiTest(v *vpc, t *records.Test) *api.PolicyTest {
	return &api.PolicyTest{Vpc: v.name, Assertion: t.GetAssertion(), Created: timestamp(t.GetCreatedMs())}
}

// runTests says what becomes of each assertion if the VPC has the rules of in.
func runTests(v *vpc, in policy.VPC, kept *records.Tests) []*api.PolicyTest {
	out := make([]*api.PolicyTest, 0, len(kept.GetTests()))
	var asked []policy.Assertion
	var answers []*api.PolicyTest
	for _, t := range kept.GetTests() {
		one := apiTest(v, t)
		out = append(out, one)
		assertion, err := policy.ParseAssertion(t.GetAssertion())
		if err != nil {
			one.State, one.Why = testUndecided, fmt.Sprintf("this node cannot read it: %v", err)
			continue
		}
		asked, answers = append(asked, assertion), append(answers, one)
	}
	results, err := in.Check(asked)
	for i, one := range answers {
		if err != nil {
			one.State, one.Why = testUndecided, err.Error()
			continue
		}
		one.State, one.Why = results[i].Outcome.String(), results[i].Why
	}
	return out
}

// tested has what became of the tests of each VPC, by VNI, and what that followed
// from: a status is asked for again and again, and little changes in between.
type tested struct {
	mu   sync.Mutex
	runs map[uint32]testRun
}

type testRun struct {
	vpc     *vpc
	version mesh.Version
	results []*api.PolicyTest
}

// run is runTests of the rules in force.
func (t *tested) run(v *vpc, version mesh.Version, kept *records.Tests) []*api.PolicyTest {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, ok := t.runs[v.vni()]
	if !ok || last.version != version || last.vpc.holdings != v.holdings || !maps.Equal(last.vpc.groups, v.groups) {
		last = testRun{version: version, results: runTests(v, v.whole(), kept)}
	}
	last.vpc = v
	if t.runs == nil {
		t.runs = map[uint32]testRun{}
	}
	t.runs[v.vni()] = last
	return last.results
}

// noteTests tells of tests that are broken, for instance by an attach.
func (d *Daemon) noteTests(out *api.GetStatusResponse) {
	s := d.snapshot()
	for _, name := range slices.Sorted(maps.Keys(s.vpcs)) {
		v := s.vpcs[name]
		rec, ok := d.mesh.Get(mesh.KindTests, records.VPCKey(v.vni()))
		if !ok {
			continue
		}
		kept, err := records.DecodeTests(rec)
		if err != nil {
			out.Problems = append(out.Problems, fmt.Sprintf("policy tests of vpc %s: %v", name, err))
			continue
		}
		for _, t := range brokenOf(d.tested.run(v, rec.Version, kept)) {
			out.Problems = append(out.Problems, fmt.Sprintf("policy test %q of vpc %s is broken: %s", t.GetAssertion(), name, t.GetWhy()))
		}
	}
}
