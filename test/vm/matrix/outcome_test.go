package main

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// said is what a test program writes, with the marks of -test.v=test2json.
var said = strings.ReplaceAll(`^=== RUN   TestGood
^--- PASS: TestGood (0.01s)
^=== RUN   TestNot
    lab_test.go:12: kernel lacks tcx
^--- SKIP: TestNot (0.00s)
^=== RUN   TestBad
^=== RUN   TestBad/half
    bad_test.go:7: wanted more
^--- FAIL: TestBad/half (0.00s)
^=== RUN   TestBad/other
^--- PASS: TestBad/other (0.00s)
^--- FAIL: TestBad (0.00s)
`, "^", "\x16")

func TestOutcomesAreCounted(t *testing.T) {
	o := &outcome{Kernel: "6.1", Suite: "netns", Driver: "ipsec-kernel"}
	if err := o.read(t.Context(), strings.NewReader(said+"FAIL\n")); err != nil {
		t.Fatal(err)
	}
	if o.Passed != 1 || o.Failed != 1 || len(o.ended) != 5 || !slices.Equal(o.Skipped, []skip{{"TestNot", "kernel lacks tcx"}}) {
		t.Errorf("passed %d, failed %d, ended %d, skipped %v", o.Passed, o.Failed, len(o.ended), o.Skipped)
	}
	if !strings.Contains(o.shown.String(), "wanted more") || strings.Contains(o.shown.String(), "TestGood") {
		t.Errorf("shown is %q", o.shown.String())
	}
	o.NotChosen = 60
	r := report{kernels: []string{"6.1", "6.12"}, outcomes: []*outcome{o}}
	var table bytes.Buffer
	r.print(&table)
	for _, want := range []string{
		`kernel 6\.1: netns ipsec-kernel: skipped TestNot: kernel lacks tcx\n`,
		`\nipsec-kernel +6\.1 +not chosen +1 passed, 1 FAILED, 1 skipped, 60 not chosen\n`,
		`\nipsec-kernel +6\.12 +not chosen +63 not chosen\n`,
		`\nfree to choose +6\.1 +- +63 not chosen\n`,
	} {
		if !regexp.MustCompile(want).MatchString(table.String()) {
			t.Errorf("the table lacks %s:\n%s", want, &table)
		}
	}
	if !r.failed() {
		t.Error("it is taken for success")
	}
}

func TestPartsOfConformanceAreCounted(t *testing.T) {
	o := &outcome{parts: true}
	if err := o.read(t.Context(), strings.NewReader(strings.ReplaceAll(said+"\x16FAIL\n", "FAIL", "PASS"))); err != nil {
		t.Fatal(err)
	}
	if o.Passed != 3 || o.Failed != 0 { // TestGood and two parts of TestBad
		t.Errorf("passed %d, failed %d: %+v", o.Passed, o.Failed, o.ended)
	}
}

// What there was no time for is named, and is no success.
func TestWhatIsNotReachedIsNamed(t *testing.T) {
	all := []string{"TestGood", "TestNot", "TestBad", "TestLater", "TestOther"}
	wanted, err := match(all, "^(TestGood|TestNot|TestBad)$/part|Later", "TestBad/half")
	if err != nil || !slices.Equal(wanted, []string{"TestGood", "TestNot", "TestBad", "TestLater"}) {
		t.Fatalf("%v are to run: %v", wanted, err)
	}
	if left, err := match(all, "", "/clsact|^Test(Good|Not)$|TestBad/(a|b)"); err != nil || len(left) != 3 {
		t.Errorf("%v are not left out: %v", left, err)
	}
	if _, err := match(all, "(", ""); err == nil {
		t.Error("half an expression is taken")
	}
	mixed := suite{skip: "/clsact|^TestGood$", skipOn: map[string]string{"6.1": "TestBad/(a|b)|Not$"}}
	if skip := mixed.leftOut("6.1"); skip != "^TestGood$|Not$|/clsact|TestBad/(a|b)" {
		t.Errorf("go test is to skip %s", skip)
	}
	good := strings.ReplaceAll(said+"\x16FAIL\n", "FAIL", "PASS")
	o := &outcome{Kernel: "6.1", Suite: "netns"}
	if err := o.read(t.Context(), strings.NewReader(good)); err != nil {
		t.Fatal(err)
	}
	o.leaves(all, wanted)
	if words := o.words(); !o.bad() || o.NotChosen != 1 || words != "2 passed, 1 skipped, 1 NOT REACHED, 1 not chosen, ENDED BADLY" {
		t.Errorf("%s; %q", words, o.Problem)
	}
	if !strings.Contains(o.Problem, "TestLater") {
		t.Errorf("the problem is %q", o.Problem)
	}
	s := suite{name: "none", program: "/bin/echo", dir: "."} // which lists no tests
	if late := s.on(t.Context(), "bin", own, 0); late.Took != 0 {
		t.Errorf("it began without time: %+v", late)
	}
}

func TestASuiteThatRanNothingFails(t *testing.T) {
	for name, text := range map[string]string{"nothing": "", "no match": "testing: warning: no tests to run\nPASS\n"} {
		o := &outcome{}
		if err := o.read(t.Context(), strings.NewReader(text)); err == nil {
			t.Errorf("%s is taken for success", name)
		}
	}
}

// A program that panics ends without a word on the test that it was in.
func TestAPanicIsShown(t *testing.T) {
	o := &outcome{}
	text := "\x16=== RUN   TestGood\npanic: no such thing\n\ngoroutine 1 [running]:\n"
	_ = o.read(t.Context(), strings.NewReader(text))
	if o.Failed == 0 || !strings.Contains(o.shown.String(), "no such thing") {
		t.Errorf("failed %d, shown %q", o.Failed, o.shown.String())
	}
}

// What one call has recorded is in another's table.
func TestWhatIsRecordedIsRecalled(t *testing.T) {
	t.Chdir(t.TempDir())
	lines := `{"Action":"run","Test":"TestGood"}{"Action":"pass","Test":"TestGood"}`
	if err := record(t.Context(), "netns", []string{"echo", lines}); err != nil {
		t.Fatal(err)
	}
	r := report{kernels: []string{own}}
	if err := r.recall(recordDir); err != nil {
		t.Fatal(err)
	}
	if len(r.outcomes) != 1 || r.cell(own, "", "netns") != "1 passed" || r.outcomes[0].Took > time.Minute {
		t.Errorf("recalled are %+v", r.outcomes)
	}
	if err := record(t.Context(), "netns", []string{"false"}); err == nil {
		t.Error("a command that fails is taken for success")
	}
}

// Each choice names tests that there are, and nothing is chosen twice.
func TestChoicesAreOfTheirOwn(t *testing.T) {
	for _, suites := range [][]suite{chosen, everything()} {
		seen := map[string]bool{}
		for _, s := range suites {
			if key := s.String() + s.run + s.skip; seen[key] {
				t.Errorf("%s is there twice", key)
			} else {
				seen[key] = true
			}
		}
	}
}
