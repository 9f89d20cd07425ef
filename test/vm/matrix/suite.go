package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// suite is the tests of one package, or those that are chosen of them.
type suite struct {
	name, dir string
	// run and skip choose tests, as go test has them; empty is all, and none.
	run, skip string
	// skipOn chooses what one kernel need not repeat of another's.
	skipOn  map[string]string
	program string
}

// chosen are the tests that tell most of a kernel in the time that there is:
// programs through its verifier, each way to attach, packets through real
// devices and the kernel's own tunnels. Most of the time is the verifier's, a
// second or five for each datapath that is opened.
var chosen = []suite{
	{
		name: "isolation", dir: "pkg/isolation",
		run: oneOf(
			"TestProgramsStayWithinTheirBudget",
			"TestTenantsOnOneHost", "TestTenantAcrossHosts", "TestGuest",
			"TestDualStackAcrossHosts", // with fragments
			"TestTracerouteShowsTheGateway",
			"TestWhatIPv6HasNoHeaderForCrossesTheOverlay",
			"TestUDPSegmentationAcrossHosts",
			"TestAChecksumIsWrittenWhereItBelongs", // which programs see in two ways
			"TestATenantsOwnTunnelCrossesTheOverlay",
			"TestADatapathIsAdoptedWithoutLosingAPacket",
			"TestAConnectionGoesThroughItsStates",
			"TestNothingIsLeftAfterRemoval",
			"TestNoPeerOfTheKernelsIPsecSpeaksForAnother",
		),
		skip:   "TestAConnectionGoesThroughItsStates/(both_end|a_re|taken_up)",
		skipOn: map[string]string{"6.12": "/clsact"},
	},
	{name: "wireguard", dir: "pkg/tunnel/wireguard", run: oneOf("TestKernelConforms")},
	{
		name: "ipsec", dir: "pkg/tunnel/ipsec",
		run: oneOf("TestKernelConforms", "TestBothKindsConformTogether", "TestKernelRekeysWithoutLoss",
			"TestAPeerSpeaksForItselfAlone", "TestESPIsSentWholeOrNotAtAll"),
		skipOn: map[string]string{"6.1": "/userspace_begins", "6.12": "/kernel_begins"},
	},
	// Two hosts: each more is a daemon that opens a datapath while others speak.
	{name: "netns", dir: "test/netns", run: oneOf("TestRulesSurviveADaemonCrash", "TestTheKernelsTunnelsChangeWithoutLoss")},
}

// oneOf matches tests by their whole names.
func oneOf(tests ...string) string { return "^(" + strings.Join(tests, "|") + ")$" }

// choose returns the suites whose names match, with all their tests if wanted.
func choose(names *regexp.Regexp, all bool) []suite {
	var suites []suite
	for _, s := range chosen {
		if !names.MatchString(s.name) {
			continue
		}
		if all {
			s.run, s.skip, s.skipOn = "", "", nil
		}
		suites = append(suites, s)
	}
	return suites
}

// build compiles the tests, without cgo: the program is to be the same wherever
// it runs.
func (s *suite) build(ctx context.Context, dir string) error {
	s.program = filepath.Join(dir, s.name+".test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", s.program, "./"+s.dir)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build tests of %s: %w\n%s", s.dir, err, said)
	}
	return nil
}

// slowness is by how much an emulated machine that has to share its processor
// with others is slower than this one, for what waits (EDGENET_SLOWNESS).
const slowness = "4"

// on runs the suite on a kernel.
func (s *suite) on(ctx context.Context, bin, kernel string, limit time.Duration) *outcome {
	args := []string{
		"-limit", limit.String(), "-k", kernel, "--",
		s.program, "-test.v=test2json", "-test.timeout", max(limit-30*time.Second, time.Second).String(),
		// One at a time: they share one processor.
		"-test.parallel", "1",
	}
	if s.run != "" {
		args = append(args, "-test.run", s.run)
	}
	if skip := strings.Trim(s.skip+"|"+s.skipOn[kernel], "|"); skip != "" {
		args = append(args, "-test.skip", skip)
	}
	began := time.Now()
	machine := exec.CommandContext(ctx, filepath.Join(bin, "vmtest"), args...)
	machine.Cancel = func() error { return machine.Process.Signal(os.Interrupt) }
	machine.Dir = s.dir
	machine.Env = append(os.Environ(), "EDGENET_E2E=must", "EDGENET_SLOWNESS="+slowness, "EDGENET_BIN="+bin)
	var said, trouble bytes.Buffer
	machine.Stdout, machine.Stderr = &said, &trouble
	ended := machine.Run()

	o := &outcome{kernel: kernel, suite: s.name, took: time.Since(began)}
	err := o.read(ctx, &said)
	if o.failed == 0 || trouble.Len() > 0 { // otherwise the tests say it
		err = errors.Join(err, ended)
	}
	if err != nil {
		o.problem = strings.TrimSpace(fmt.Sprintf("%v\n%s", err, &trouble))
	}
	return o
}
