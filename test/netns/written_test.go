package netns

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/test/netns/lab"
)

// holding is what a host says that there is, by name.
type holding map[string]string

func (h holding) String() string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(h)) {
		lines = append(lines, name+": "+h[name])
	}
	return strings.Join(lines, "\n")
}

// held asks a host for all that there is.
func held(h *lab.Host) (holding, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	api, out := h.API(), holding{}
	vpcs, err1 := api.VPCs.ListVPCs(ctx, &edgenetv1.ListVPCsRequest{})
	groups, err2 := api.Groups.ListGroups(ctx, &edgenetv1.ListGroupsRequest{})
	endpoints, err3 := api.Endpoints.ListEndpoints(ctx, &edgenetv1.ListEndpointsRequest{})
	rules, err4 := api.Tunnels.GetTunnelPolicy(ctx, &edgenetv1.GetTunnelPolicyRequest{})
	nodes, err5 := api.Nodes.ListNodes(ctx, &edgenetv1.ListNodesRequest{})
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return nil, err
	}
	for _, v := range vpcs.GetVpcs() {
		out["vpc "+v.GetName()] = fmt.Sprint(v.GetVni(), v.GetCidrs())
	}
	for _, g := range groups.GetGroups() {
		var ids []string
		for _, r := range g.GetRules() {
			ids = append(ids, r.GetId())
			out["rule "+g.GetVpc()+" "+g.GetName()+" "+strings.Join(r.GetPorts(), ",")] = "there"
		}
		out["group "+g.GetVpc()+" "+g.GetName()] = fmt.Sprint(ids)
	}
	for _, e := range endpoints.GetEndpoints() {
		out["endpoint "+e.GetName()] = fmt.Sprint(e.GetNode(), e.GetIps(), e.GetState(), e.GetEpoch(), e.GetGroups())
	}
	for _, r := range rules.GetRules() {
		out["tunnels "+r.GetBetween()] = r.GetTechnology()
	}
	for _, n := range nodes.GetNodes() {
		out["node "+n.GetName()] = n.GetState()
	}
	return out, nil
}

// written is what was acknowledged: of what is named there must be something, or, if
// gone, nothing. What was under way when a daemon was killed may be or not.
type written struct {
	mu          sync.Mutex
	there, gone map[string]bool
	next        int
	count       int
}

func newWritten() *written { return &written{there: map[string]bool{}, gone: map[string]bool{}} }

// kept returns what is not as it was acknowledged.
func (w *written) kept(h holding) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var problems []error
	for name := range w.there {
		if h[name] == "" {
			problems = append(problems, fmt.Errorf("%s was acknowledged, and is gone", name))
		}
	}
	for name := range w.gone {
		if h[name] != "" {
			problems = append(problems, fmt.Errorf("%s is back: %s", name, h[name]))
		}
	}
	return errors.Join(problems...)
}

// begins forgets what is said of a name, ends says what it is now.
func (w *written) begins(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.there, name)
	delete(w.gone, name)
}

func (w *written) ends(name string, there bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count++
	if there {
		w.there[name] = true
	} else {
		w.gone[name] = true
	}
}

// number is one that no other write has.
func (w *written) number() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next++
	return w.next
}

func (w *written) acknowledged() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

// write does one, which leaves something there, or nothing.
func (w *written) write(name string, there bool, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	w.begins(name)
	if err := do(ctx); err != nil {
		return err
	}
	w.ends(name, there)
	return nil
}

// The writes, each of something of its own: one goroutine's return when its daemon is
// gone.

func (w *written) vpc(api lab.API) error {
	name := fmt.Sprintf("w%d", w.number())
	return w.write("vpc "+name, true, func(ctx context.Context) error {
		_, err := api.VPCs.CreateVPC(ctx, &edgenetv1.CreateVPCRequest{Name: name, Cidrs: []string{"10.0.0.0/24"}})
		return err
	})
}

func (w *written) group(api lab.API) error {
	name := fmt.Sprintf("g%d", w.number())
	if err := w.write("group blue "+name, true, func(ctx context.Context) error {
		_, err := api.Groups.CreateGroup(ctx, &edgenetv1.CreateGroupRequest{Name: name, Vpc: "blue"})
		return err
	}); err != nil {
		return err
	}
	return w.write("rule blue "+name+" 80", true, func(ctx context.Context) error {
		_, err := api.Groups.AddRule(ctx, &edgenetv1.AddRuleRequest{Group: name, Vpc: "blue", Rule: &edgenetv1.Rule{
			Direction: "ingress", Protocol: "tcp", Ports: []string{"80"}, Peer: "any",
		}})
		return err
	})
}

func (w *written) policy(api lab.API) error {
	technology := []string{"wireguard", "ipsec"}[w.number()%2]
	return w.write("tunnels gateway-relay", true, func(ctx context.Context) error {
		_, err := api.Tunnels.SetTunnelRule(ctx, &edgenetv1.SetTunnelRuleRequest{
			Rule: &edgenetv1.TunnelRule{Between: "gateway-relay", Technology: technology},
		})
		return err
	})
}

// endpoint attaches one, and detaches most of them again.
func (w *written) endpoint(api lab.API) error {
	number := w.number()
	name := fmt.Sprintf("e%d", number)
	if err := w.write("endpoint "+name, true, func(ctx context.Context) error {
		_, err := api.Endpoints.AttachEndpoint(ctx, &edgenetv1.AttachEndpointRequest{
			Name: name, Vpc: "blue", Ip: fmt.Sprintf("10.0.%d.%d", 1+number/200, 1+number%200),
			Target: &edgenetv1.AttachEndpointRequest_Tap{Tap: &edgenetv1.TapTarget{Name: "tap-" + name}},
		})
		return err
	}); err != nil || number%4 == 0 {
		return err
	}
	return w.write("endpoint "+name, false, func(ctx context.Context) error {
		_, err := api.Endpoints.DetachEndpoint(ctx, &edgenetv1.DetachEndpointRequest{Name: name, Vpc: "blue"})
		return err
	})
}

// killWithinWrites has an authority and a node write without a pause, and kills both
// while they do, three times.
func (f *failing) killWithinWrites() string {
	before := f.writes.acknowledged()
	for range 3 {
		f.writesUntilKilled()
		f.cloud.Start()
		f.victim.Start()
		f.agree("after a kill within writes")
	}
	return fmt.Sprintf("%d writes acknowledged, none lost; ", f.writes.acknowledged()-before)
}

func (f *failing) writesUntilKilled() {
	f.t.Helper()
	var writers sync.WaitGroup
	var killed atomic.Bool
	w, authority, node := f.writes, f.cloud.API(), f.victim.API()
	first := w.acknowledged()
	for what, write := range map[string]func() error{
		"VPCs":      func() error { return w.vpc(authority) },
		"groups":    func() error { return w.group(authority) },
		"policies":  func() error { return w.policy(authority) },
		"endpoints": func() error { return w.endpoint(node) },
	} {
		writers.Go(func() {
			err := write()
			for err == nil {
				err = write()
			}
			if !killed.Load() {
				f.t.Errorf("write %s: %v", what, err)
			}
		})
	}
	f.Await("writes are acknowledged", func() error {
		if n := w.acknowledged() - first; n < 20 {
			return fmt.Errorf("only %d", n)
		}
		return nil
	})
	killed.Store(true)
	f.victim.Kill()
	f.cloud.Kill()
	writers.Wait()
}
