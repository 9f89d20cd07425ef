package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/bench/progrun"
	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/frame"
)

// ruleCall measures how long one rule more or less among many takes to be in
// force, from the call of the API on: at the node that is called, an authority,
// and at another.
var ruleCall = benchmark{
	rows: []string{"policy/change-1-in-10000-api", "policy/change-1-in-10000-mesh"},
	run:  measureRuleCall,
}

func measureRuleCall(w *world) (results []result, err error) {
	var watchers []*watcher
	for _, host := range w.mesh() {
		seen, err := newWatcher(w, host)
		if err != nil {
			return nil, fmt.Errorf("watch %s: %w", host.Name, err)
		}
		watchers = append(watchers, seen)
		defer func() { err = errors.Join(err, seen.close()) }()
	}
	api, closeAPI := w.mesh()[0].KeptAPI()
	defer closeAPI()
	rule := &edgenetv1.Rule{Direction: "ingress", Protocol: "tcp", Ports: []string{fmt.Sprint(lonely)}, Peer: "any"}
	calls := []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := api.Groups.AddRule(ctx, &edgenetv1.AddRuleRequest{Group: ruledLoad.carried[0], Vpc: ruled, Rule: rule})
			return err
		},
		func(ctx context.Context) error {
			_, err := api.Groups.RemoveRule(ctx, &edgenetv1.RemoveRuleRequest{Group: ruledLoad.carried[0], Vpc: ruled, Rule: rule})
			return err
		},
	}
	var here, there []float64
	for range w.effort.rounds {
		for i, call := range calls {
			took, err := changed(w.ctx, watchers, call, i == 0)
			if err != nil {
				return nil, err
			}
			here, there = append(here, took[0]), append(there, took[1])
		}
	}
	return []result{
		medianOf("policy/change-1-in-10000-api", "ms", here),
		medianOf("policy/change-1-in-10000-mesh", "ms", there),
	}, nil
}

// changed makes a call and returns how many milliseconds later each watcher saw
// what it is to bring about.
func changed(ctx context.Context, watchers []*watcher, call func(context.Context) error, permitted bool) ([]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	type sight struct {
		at  time.Time
		err error
	}
	sights := make([]chan sight, len(watchers))
	for i, each := range watchers {
		sights[i] = make(chan sight, 1)
		go func() {
			at, err := each.await(ctx, permitted)
			sights[i] <- sight{at, err}
		}()
	}
	began := time.Now()
	failed := call(ctx)
	if failed != nil {
		cancel()
	}
	took := make([]float64, len(watchers))
	for i := range watchers {
		seen := <-sights[i]
		failed = errors.Join(failed, seen.err)
		took[i] = float64(seen.at.Sub(began)) / float64(time.Millisecond)
	}
	return took, failed
}

// watcher asks a host's running datapath again and again about a packet that only
// one rule permits.
type watcher struct {
	host     *lab.Host
	programs progrun.Programs
	ifindex  uint32
	mac      net.HardwareAddr
	from, to netip.Addr
	source   uint16
}

func newWatcher(w *world, host *lab.Host) (*watcher, error) {
	// The one that is asked does not carry the group that permits everything.
	from, fromAddr := w.attach(host, "asks", group)
	_, toAddr := w.attach(host, "asked")
	attached, err := host.Endpoint(ruled, from.Name)
	if err != nil {
		return nil, fmt.Errorf("read endpoint: %w", err)
	}
	seen := &watcher{host: host, mac: from.MAC(), from: fromAddr, to: toAddr, source: firstSource}
	err = within(host.Namespace(), func() error {
		device, err := net.InterfaceByName(attached.GetDevice())
		if err == nil {
			seen.ifindex = uint32(device.Index)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find device of %s: %w", from, err)
	}
	seen.programs, err = progrun.Of(host.PID())
	return seen, err
}

// between asks is how long the watcher waits: the kernel tells nobody when it
// begins to judge otherwise.
const betweenAsks = 100 * time.Microsecond

// await returns when the datapath permits the packet, or does not.
func (s *watcher) await(ctx context.Context, permitted bool) (at time.Time, err error) {
	want := uint32(progrun.Shot)
	if permitted {
		want = progrun.Redirect
	}
	err = within(s.host.Namespace(), func() error {
		for {
			verdict, _, err := s.programs["from_endpoint"].Run(s.packet(), s.ifindex)
			at = time.Now()
			if err != nil || verdict == want {
				return err
			}
			if ctx.Err() != nil {
				return fmt.Errorf("await the change at %s: %w", s.host.Name, ctx.Err())
			}
			time.Sleep(betweenAsks)
		}
	})
	return at, err
}

// packet opens a connection that there never was.
func (s *watcher) packet() []byte {
	s.source = max(firstSource, s.source+1)
	segment := frame.TCPSyn(netip.AddrPortFrom(s.from, s.source), netip.AddrPortFrom(s.to, lonely))
	packet := frame.IPv4{Src: s.from, Dst: s.to, Protocol: frame.ProtoTCP}.Packet(segment)
	return frame.Ethernet(frame.GatewayMAC, s.mac, frame.TypeIPv4, packet)
}

func (s *watcher) close() error { return s.programs.Close() }
