package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/bench/progrun"
	"edgenet.dev/edgenet/pkg/policy"
)

// ruleTime measures how long it takes to put many rules in force, and one more
// among them, through the libraries as edgenetd uses them.
var ruleTime = benchmark{
	rows: []string{
		"policy/compile-load-10000", "policy/compile-10000", "policy/load-10000",
		"policy/change-1-in-10000", "policy/change-1-in-10000-compile",
	},
	run: measureRuleTime,
}

// The targets, in milliseconds.
const (
	mostCompileLoad = 200
	mostChange      = 10
)

// changesPerRound is how often the one rule comes and goes again in a round.
const changesPerRound = 4

func measureRuleTime(w *world) (results []result, err error) {
	few, fewer := newWorkload(10, ruledHosts), newWorkload(8, ruledHosts)
	many := newWorkload(manyRules-1, ruledHosts) // room for one more
	s, err := newSite(w.ctx, few)
	defer func() { err = errors.Join(err, s.close(w.ctx)) }()
	if err != nil {
		return nil, fmt.Errorf("make a site: %w", err)
	}
	var compile, load, both, changeCompile, change []float64
	for range w.effort.rounds {
		// What was in force before the last change may still be there: two changes
		// away from many rules, none of them is.
		for _, one := range []*workload{few, fewer, many} {
			took, err := s.enforce(w.ctx, one, one.policy())
			if err != nil {
				return nil, fmt.Errorf("enforce %d rules: %w", one.rules, err)
			}
			if one == many {
				compile, load, both = append(compile, took.compile), append(load, took.load), append(both, took.compile+took.load)
			}
		}
		for range changesPerRound {
			for _, permitted := range []bool{true, false} {
				if err := afterPackets(); err != nil {
					return nil, err
				}
				took, err := s.changeOne(w.ctx, many, permitted)
				if err != nil {
					return nil, fmt.Errorf("change one of %d rules: %w", many.rules, err)
				}
				changeCompile, change = append(changeCompile, took.compile), append(change, took.compile+took.load)
			}
		}
	}
	return []result{
		medianOf("policy/compile-load-10000", "ms", both).atMost(mostCompileLoad),
		medianOf("policy/compile-10000", "ms", compile),
		medianOf("policy/load-10000", "ms", load),
		medianOf("policy/change-1-in-10000", "ms", change).atMost(mostChange),
		medianOf("policy/change-1-in-10000-compile", "ms", changeCompile),
	}, nil
}

// membarrierGlobal is MEMBARRIER_CMD_GLOBAL of linux/membarrier.h.
const membarrierGlobal = 1

// afterPackets returns when no packet is under way that was so before: a change
// that comes sooner after another waits for that, which is the other's share. The
// kernel answers after an RCU grace period.
func afterPackets() error {
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0); errno != 0 {
		return fmt.Errorf("wait for packets under way: %w", errno)
	}
	return nil
}

// enforced is how long rules took to be in force, in milliseconds.
type enforced struct{ compile, load float64 }

// enforce compiles a VPC, which is a workload's but for some rules, and loads it.
// The compiler knows what it made of the same workload before.
// When it returns, its rules are in force.
func (s *site) enforce(ctx context.Context, load *workload, vpc policy.VPC) (took enforced, err error) {
	if s.load != load {
		s.load, s.compiler = load, &policy.Compiler{}
	}
	began := time.Now()
	compiled, err := s.compiler.Compile(vpc)
	if err != nil {
		return took, err
	}
	took.compile = since(began)
	began = time.Now()
	s.fill(compiled)
	err = s.within(func() error { return s.datapath.Change(ctx, s.state) })
	took.load = since(began)
	return took, err
}

func since(began time.Time) float64 { return float64(time.Since(began)) / float64(time.Millisecond) }

// lonely is a port that no rule of a workload permits.
const lonely = 40_000

// changeOne adds a rule to the workload's, or removes it, and sees to it that the
// datapath does what it says.
func (s *site) changeOne(ctx context.Context, load *workload, permitted bool) (enforced, error) {
	peer := load.remote[len(load.remote)/2]
	vpc := load.policy()
	if permitted {
		vpc.Groups = slices.Clone(vpc.Groups)
		last := &vpc.Groups[len(vpc.Groups)-1]
		last.Rules = append(slices.Clone(last.Rules), policy.Rule{
			Direction: policy.Ingress, Protocol: policy.ProtocolTCP,
			Ports: []policy.PortRange{{First: lonely, Last: lonely}},
			Peer:  policy.Peer{Kind: policy.PeerCIDR, CIDR: netip.PrefixFrom(peer, peer.BitLen())},
		})
	}
	took, err := s.enforce(ctx, load, vpc)
	if err != nil {
		return took, err
	}
	want := uint32(progrun.Shot)
	if permitted {
		want = progrun.Redirect
	}
	return took, s.within(func() error {
		packet := s.syn(siteFlow{policy.Ingress, door{peer, lonely}, firstSource})
		verdict, _, err := packet.program.Run(packet.bytes, packet.ifindex)
		if err == nil && verdict != want {
			err = fmt.Errorf("the datapath returned %d after the change, want %d", verdict, want)
		}
		return err
	})
}
