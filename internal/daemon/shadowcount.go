package daemon

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/timestamppb"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/api/edgenet/v1/edgenetv1connect"
	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// askedAtOnce bounds the nodes that are asked at a time.
const askedAtOnce = 32

// CountShadow tells what a VPC's candidate counted on this node.
func (d *Daemon) CountShadow(ctx context.Context, vpcName string) (*api.CountShadowResponse, error) {
	v, ok := d.snapshot().vpcs[vpcName]
	if !ok || v.shadow == nil {
		return nil, notFound("it knows no candidate rules of vpc %s", vpcName)
	}
	n := d.network
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.tallies.byVNI[v.vni()]
	if n.datapath == nil || t == nil || t.Created != v.shadow.record.GetCreatedMs() {
		return nil, precondition("it has not begun to count")
	}
	out := &api.CountShadowResponse{}
	hits, err := n.datapath.RuleHits(ctx, v.vni())
	if err != nil {
		return nil, err
	}
	out.Rules = v.ruleCounts(t, hits)
	for _, e := range v.local {
		st, ok, err := n.datapath.EndpointStatus(isolation.Key{VNI: e.vni, Name: e.name})
		if err != nil {
			return nil, err
		}
		if counted := t.endpoint(e.name, st.Counters); ok && counted != (judged{}) {
			out.Endpoints = append(out.Endpoints, &api.EndpointCount{
				Endpoint: e.name, Node: n.mesh.Self().Name, WouldAllow: counted.Allows, WouldDrop: counted.Drops,
			})
		}
	}
	for _, one := range n.tallies.samples.of(v.vni()) {
		out.Samples = append(out.Samples, apiSample(&one, n.mesh.Self().Name))
	}
	return out, nil
}

// ruleCounts are what the rules of the candidate's groups counted, and all others
// that it judges otherwise than.
func (v *vpc) ruleCounts(t *tally, hits map[isolation.Rule]isolation.Hits) []*api.RuleCount {
	var out []*api.RuleCount
	count := func(group string, r policy.Rule, candidate, always bool) {
		hit := t.rule(group, r.ID(), hits[isolation.Rule{VNI: v.vni(), Group: group, ID: r.ID()}])
		if always || hit.ShadowAllows+hit.ShadowDrops > 0 {
			out = append(out, &api.RuleCount{
				Group: group, Rule: apiRule(r), Candidate: candidate,
				Hits: hit.Flows, WouldAllow: hit.ShadowAllows, WouldDrop: hit.ShadowDrops,
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v.groups)) {
		candidates, changes := v.shadow.rules[name]
		for _, r := range v.groups[name].rules {
			count(name, r, false, changes)
		}
		for _, r := range candidates {
			if indexRule(v.groups[name].rules, r.ID()) < 0 {
				count(name, r, true, true)
			}
		}
	}
	return out
}

func apiSample(s *sample, node string) *api.ShadowSample {
	out := &api.ShadowSample{
		Time: timestamppb.New(s.Time), Endpoint: s.Endpoint.Name, Node: node, Direction: s.Direction.String(),
		Source: s.Source.String(), Destination: s.Destination.String(), Protocol: formatProtocol(s.Protocol),
		Effect: "would-drop", Rule: s.rule, CandidateRule: s.candidate,
	}
	if s.ShadowAllowed {
		out.Effect = "would-allow"
	}
	if hasPorts(s.Protocol) {
		out.SourcePort, out.Port = uint32(s.SourcePort), uint32(s.DestinationPort)
	}
	return out
}

// GetShadow returns a VPC's candidate and what it counted on all nodes that have
// endpoints of the VPC.
func (d *Daemon) GetShadow(ctx context.Context, vpcName string) (*api.GetShadowResponse, error) {
	s := d.snapshot()
	v, err := s.withShadow(vpcName)
	if err != nil {
		return nil, fmt.Errorf("show shadow: %w", err)
	}
	sum := &shadowSum{
		out:   &api.GetShadowResponse{Created: timestamp(v.shadow.record.GetCreatedMs()), Missing: map[string]string{}},
		rules: map[string]*api.RuleCount{},
	}
	for _, g := range v.shadow.record.GetGroups() {
		one := &api.Group{Name: g.GetName(), Vpc: v.name, Created: sum.out.GetCreated()}
		for _, r := range v.shadow.rules[g.GetName()] {
			one.Rules = append(one.Rules, apiRule(r))
		}
		sum.out.Groups = append(sum.out.Groups, one)
	}
	var all errgroup.Group
	all.SetLimit(askedAtOnce)
	for id := range v.nodes() {
		all.Go(func() error {
			counted, err := d.countOn(ctx, s, id, vpcName)
			sum.add(s.nodes[id].Name, counted, err)
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	return sum.sorted(), nil
}

// nodes are those that have endpoints of the VPC.
func (v *vpc) nodes() map[mesh.NodeID]bool {
	out := map[mesh.NodeID]bool{}
	for _, e := range v.all {
		out[e.node] = true
	}
	return out
}

func (d *Daemon) countOn(ctx context.Context, s *snapshot, id mesh.NodeID, vpcName string) (*api.CountShadowResponse, error) {
	if id == s.self.ID {
		return d.CountShadow(ctx, vpcName)
	}
	if n := s.nodes[id]; n.State == mesh.StateDead || n.State.Gone() {
		return nil, fmt.Errorf("it is %s", n.State)
	}
	return askPeer(ctx, d, id, &api.CountShadowRequest{Vpc: vpcName},
		func(c edgenetv1connect.PeerServiceClient) func(context.Context, *api.CountShadowRequest) (*api.CountShadowResponse, error) {
			return c.CountShadow
		})
}

// shadowSum adds up what nodes say.
type shadowSum struct {
	mu    sync.Mutex
	out   *api.GetShadowResponse
	rules map[string]*api.RuleCount
}

func (s *shadowSum) add(node string, counted *api.CountShadowResponse, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.out.Missing[node] = err.Error()
		return
	}
	s.out.Nodes = append(s.out.Nodes, node)
	for _, r := range counted.GetRules() {
		key := ruleKey(r.GetGroup(), r.GetRule().GetId())
		sum, ok := s.rules[key]
		if !ok {
			s.rules[key] = r
			continue
		}
		sum.Hits += r.GetHits()
		sum.WouldAllow += r.GetWouldAllow()
		sum.WouldDrop += r.GetWouldDrop()
	}
	s.out.Endpoints = append(s.out.Endpoints, counted.GetEndpoints()...)
	s.out.Samples = append(s.out.Samples, counted.GetSamples()...)
}

// sorted is the sum in an order that does not follow from who was quick.
func (s *shadowSum) sorted() *api.GetShadowResponse {
	out := s.out
	slices.Sort(out.Nodes)
	for _, key := range slices.Sorted(maps.Keys(s.rules)) {
		out.Rules = append(out.Rules, s.rules[key])
	}
	slices.SortFunc(out.Endpoints, func(a, b *api.EndpointCount) int {
		return cmp.Or(cmp.Compare(a.GetEndpoint(), b.GetEndpoint()), cmp.Compare(a.GetNode(), b.GetNode()))
	})
	slices.SortStableFunc(out.Samples, func(a, b *api.ShadowSample) int { return b.GetTime().AsTime().Compare(a.GetTime().AsTime()) })
	out.Samples = out.Samples[:min(len(out.Samples), maxSamples)]
	return out
}
