package daemon

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/policy"
)

// flowPortion is how many flows go into one message.
const flowPortion = 256

// flowFilter is an API filter as the datapath has it.
type flowFilter struct {
	isolation.FlowFilter
	// port is on either side.
	port uint16
}

func (f *flowFilter) matches(flow *isolation.Flow) bool {
	return f.port == 0 || hasPorts(flow.Protocol) && (flow.Local.Port() == f.port || flow.Remote.Port() == f.port)
}

// parseFlowFilter reads which flows are meant. A VPC that is not known any more
// has none.
func (s *snapshot) parseFlowFilter(in *api.FlowFilter) (flowFilter, error) {
	var f flowFilter
	var err error
	if f.VNI, err = s.parseOwner(in.GetVpc(), in.GetEndpoint()); err != nil {
		return f, err
	}
	f.Endpoint = in.GetEndpoint()
	if in.GetProtocol() != "" {
		if f.Protocol, err = parseProtocol(in.GetProtocol()); err != nil {
			return f, invalid("%w", err)
		}
	}
	if in.GetPort() > 65535 {
		return f, invalid("port %d: want 1 to 65535", in.GetPort())
	}
	f.port = uint16(in.GetPort())
	if in.GetRemote() != "" {
		if f.Remote, err = parseRemote(in.GetRemote()); err != nil {
			return f, invalid("%w", err)
		}
	}
	f.State = isolation.FlowState(in.GetState())
	if _, err := flowStates(f.State); err != nil {
		return f, invalid("%w", err)
	}
	return f, nil
}

// parseOwner reads whose flows or drops are meant: a VPC's, or those of an
// endpoint of it, which need not be there any more. Nothing means everybody's.
func (s *snapshot) parseOwner(vpcName, endpoint string) (vni uint32, err error) {
	if vpcName != "" {
		v, ok := s.vpcs[vpcName]
		if !ok {
			return 0, notFound("vpc %q: not found", vpcName)
		}
		vni = v.vni()
	}
	if endpoint == "" {
		return vni, nil
	}
	if vpcName == "" {
		return 0, invalid("endpoint %s: the name of its VPC is missing", endpoint)
	}
	if err := policy.ValidateName(endpoint); err != nil {
		return 0, invalid("endpoint: %w", err)
	}
	return vni, nil
}

// parseRemote reads an address or a CIDR.
func parseRemote(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return prefix, fmt.Errorf("remote %q: want an address or a CIDR", text)
	}
	return prefix.Masked(), nil
}

// flowStates are all states, if the one named is among them or empty.
func flowStates(named isolation.FlowState) (map[isolation.FlowState]bool, error) {
	known, err := isolation.DefaultFlowTimeouts()
	if err != nil {
		return nil, err
	}
	states := make(map[isolation.FlowState]bool, len(known))
	for state := range known {
		states[state] = true
	}
	if named != "" && !states[named] {
		var words []string
		for _, state := range slices.Sorted(maps.Keys(states)) {
			words = append(words, string(state))
		}
		return nil, fmt.Errorf("state %q: there are %s", named, strings.Join(words, ", "))
	}
	return states, nil
}

// ListFlows sends the flows of this host's endpoints in portions.
func (d *Daemon) ListFlows(ctx context.Context, req *api.ListFlowsRequest, send func(*api.ListFlowsResponse) error) error {
	s := d.snapshot()
	filter, err := s.parseFlowFilter(req.GetFilter())
	if err != nil {
		return fmt.Errorf("list flows: %w", err)
	}
	datapath := d.network.running()
	if datapath == nil {
		return nil
	}
	var portion []*api.Flow
	sent := uint32(0)
	for flow, err := range datapath.Flows(ctx, filter.FlowFilter) {
		if err != nil {
			return fmt.Errorf("list flows: %w", err)
		}
		if !filter.matches(&flow) {
			continue
		}
		portion = append(portion, s.apiFlow(datapath, &flow))
		if sent++; sent == req.GetLimit() {
			break
		}
		if len(portion) == flowPortion {
			if err := send(&api.ListFlowsResponse{Flows: portion}); err != nil {
				return err
			}
			portion = nil
		}
	}
	if len(portion) == 0 {
		return nil
	}
	return send(&api.ListFlowsResponse{Flows: portion})
}

func (s *snapshot) apiFlow(datapath Datapath, f *isolation.Flow) *api.Flow {
	out := &api.Flow{
		Endpoint: f.Endpoint.Name, Protocol: formatProtocol(f.Protocol),
		Local: f.Local.Addr().String(), Remote: f.Remote.Addr().String(),
		State: string(f.State), Origin: f.Origin.String(),
		AgeSeconds: f.Age.Seconds(), IdleSeconds: f.Idle.Seconds(), ExpiresSeconds: f.Remaining.Seconds(),
	}
	if hasPorts(f.Protocol) {
		out.LocalPort, out.RemotePort = uint32(f.Local.Port()), uint32(f.Remote.Port())
	}
	if v, ok := s.byVNI[f.Endpoint.VNI]; ok {
		out.Vpc = v.name
	}
	if rule, ok := datapath.RuleOf(f.Rule); ok {
		out.Group, out.Rule = rule.Group, rule.ID
	}
	return out
}

// FlushFlows forgets flows of this host's endpoints.
func (d *Daemon) FlushFlows(ctx context.Context, req *api.FlushFlowsRequest) (*api.FlushFlowsResponse, error) {
	filter, err := d.snapshot().parseFlowFilter(req.GetFilter())
	if err != nil {
		return nil, fmt.Errorf("flush flows: %w", err)
	}
	if empty := filter == (flowFilter{}); empty != req.GetAll() {
		return nil, invalid("flush flows: want a filter, or all, and not both")
	}
	datapath := d.network.running()
	if datapath == nil {
		return &api.FlushFlowsResponse{}, nil
	}
	n, err := d.flush(ctx, datapath, &filter)
	if err != nil {
		return nil, fmt.Errorf("flush flows: %w", err)
	}
	d.log.Info("flows flushed", "flows", n, "filter", req.GetFilter().String(), "who", Caller(ctx))
	return &api.FlushFlowsResponse{Flushed: uint32(n)}, nil
}

// flush takes a port on either side in two turns: no flow is counted twice, for
// the first turn forgets it.
func (d *Daemon) flush(ctx context.Context, datapath Datapath, filter *flowFilter) (int, error) {
	if filter.port == 0 {
		return datapath.FlushFlows(ctx, filter.FlowFilter)
	}
	local, remote := filter.FlowFilter, filter.FlowFilter
	local.LocalPort, remote.RemotePort = filter.port, filter.port
	n, err := datapath.FlushFlows(ctx, local)
	if err != nil {
		return n, err
	}
	more, err := datapath.FlushFlows(ctx, remote)
	return n + more, err
}
