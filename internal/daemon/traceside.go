package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// TraceSide tells what this node does with a packet that one of its endpoints
// sends or receives: by its own records, and by the program that runs here. Other
// nodes ask, too.
func (d *Daemon) TraceSide(ctx context.Context, req *api.TraceSideRequest) (*api.TraceSideResponse, error) {
	packet, err := parsePacket(req.GetPacket())
	if err != nil {
		return nil, invalid("trace: %w", err)
	}
	dir, err := policy.ParseDirection(req.GetDirection())
	if err != nil {
		return nil, invalid("trace: %w", err)
	}
	s := d.snapshot()
	v, ok := s.byVNI[req.GetVni()]
	if !ok {
		return nil, notFound("it knows no VPC with VNI %d", req.GetVni())
	}
	egress, ingress := v.decide(&packet)
	out := &api.TraceSideResponse{Records: egress}
	if dir == policy.Ingress {
		out.Records = ingress
	}
	run, err := d.runTrace(ctx, s, v, packet, dir)
	if out.Missing = inWords(err); out.GetMissing() != "" {
		return out, nil
	}
	if dir == policy.Egress {
		out.Route = d.route(s, v, packet.Destination, run)
	}
	out.Program, out.Missing = d.programDecision(v, run)
	return out, nil
}

// inWords is an error that is part of an answer; empty if there is none.
func inWords(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// traceRun is what a program said, of one of its sides.
type traceRun struct {
	isolation.Trace
	// own is the endpoint whose side is asked about.
	own isolation.Key
	dir policy.Direction
	// first is true for the side where the program begins.
	first bool
}

func (r *traceRun) side() *isolation.TraceSide {
	if r.dir == policy.Egress {
		return r.Egress
	}
	return r.Ingress
}

// dropped is true if it is on this side that the packet is dropped.
func (r *traceRun) dropped() bool {
	return r.Reason != "" && (r.DroppedAt == r.own || r.DroppedAt == isolation.Key{} && r.first)
}

// runTrace asks the program: that at the sender, if it is here, or else that at
// the tunnel.
func (d *Daemon) runTrace(ctx context.Context, s *snapshot, v *vpc, p firstPacket, dir policy.Direction) (*traceRun, error) {
	datapath := d.network.running()
	if datapath == nil {
		return nil, errors.New("no datapath runs there")
	}
	sender, own := v.at(p.Source), p.Source
	if dir == policy.Ingress {
		own = p.Destination
	}
	e := v.at(own)
	switch {
	case e == nil || e.node != s.self.ID:
		return nil, fmt.Errorf("by its records no endpoint of its own has %s", own)
	case sender == nil:
		return nil, fmt.Errorf("by its records no endpoint has %s", p.Source)
	}
	run := &traceRun{own: isolation.Key{VNI: e.vni, Name: e.name}, dir: dir, first: dir == policy.Egress || sender.node != s.self.ID}
	probe := isolation.Probe{VNI: v.vni(), Source: p.Source, Destination: p.Destination, Protocol: p.Protocol}
	if isICMP(p.Protocol) {
		probe.Type, probe.Code = uint8(p.Port>>8), uint8(p.Port)
	} else {
		probe.SourcePort, probe.DestinationPort = p.sourcePort, p.Port
	}
	if sender.node != s.self.ID {
		probe.Node = s.nodes[sender.node].Prefix
	}
	var err error
	run.Trace, err = datapath.Trace(ctx, probe)
	return run, err
}

// programDecision is one side of a trace in the API's words, or why there is
// none.
func (d *Daemon) programDecision(v *vpc, run *traceRun) (out *api.Decision, missing string) {
	side := run.side()
	switch {
	case side != nil:
	case run.dropped():
		return &api.Decision{By: "none", Reason: run.Reason, Why: fmt.Sprintf("it is dropped before any rule is asked (%s)", run.Reason)}, ""
	case run.Reason != "":
		return nil, fmt.Sprintf("the packet does not come so far: it is dropped before (%s)", run.Reason)
	case run.gateway():
		return &api.Decision{Passes: true, By: "none", Why: "the gateway answers it"}, ""
	default:
		return nil, "the program let it go without asking this side"
	}
	out = &api.Decision{Passes: side.Allowed, By: string(side.By), FlowState: string(side.State)}
	if datapath := d.network.running(); datapath != nil {
		if rule, ok := datapath.RuleOf(side.Rule); ok {
			out.Group, out.Rule = rule.Group, rule.ID
		}
	}
	if out.Why = v.ruleWords(out, run.dir); side.By != isolation.ByRules {
		out.Why = fmt.Sprintf("a known flow carries it (%s), which began so: %s", side.State, out.GetWhy())
	}
	if run.dropped() {
		out.Reason = run.Reason
		if side.Allowed {
			out.Passes, out.Why = false, fmt.Sprintf("%s; but it is dropped behind that (%s)", out.GetWhy(), run.Reason)
		}
	}
	return out, ""
}

// gateway is true for a packet that the VPC's gateway answers.
func (r *traceRun) gateway() bool {
	return r.Reason == "" && !r.Node.IsValid() && r.Endpoint == isolation.Key{}
}

// ruleWords say what a rule that a program named does, as far as the records
// know it.
func (v *vpc) ruleWords(d *api.Decision, dir policy.Direction) string {
	verb := map[bool]string{true: "permits", false: "denies"}[d.GetPasses()]
	if d.GetGroup() == "" {
		if d.GetPasses() {
			return "no rule allows or denies it, so it goes out"
		}
		return fmt.Sprintf("no %s rule permits it", dir)
	}
	name := fmt.Sprintf("group %s rule %s %s it", d.GetGroup(), d.GetRule(), verb)
	if g := v.groups[d.GetGroup()]; g != nil {
		if i := indexRule(g.rules, d.GetRule()); i >= 0 {
			return fmt.Sprintf("%s: %s", name, g.rules[i])
		}
	}
	return name + ", which the records do not have"
}

// The kinds of a route.
const (
	routeLocal   = "local"
	routeNode    = "node"
	routeGateway = "gateway"
	routeNone    = "none"
)

// route is where this node sends a packet: by the program, or by the records if
// that drops it.
func (d *Daemon) route(s *snapshot, v *vpc, to netip.Addr, run *traceRun) *api.Route {
	_, gateway := v.gatewayOf(to)
	switch e := v.at(to); {
	case run.Node.IsValid():
		for _, n := range s.nodes {
			if n.Prefix == run.Node {
				return d.nodeRoute(n)
			}
		}
		return &api.Route{Kind: routeNode, Node: run.Node.String(), Tunnel: tunnelDown}
	case gateway:
		return &api.Route{Kind: routeGateway}
	case e == nil:
		return &api.Route{Kind: routeNone}
	case e.node == s.self.ID:
		return &api.Route{Kind: routeLocal, Node: s.self.Name}
	default:
		return d.nodeRoute(s.nodes[e.node])
	}
}

func (d *Daemon) nodeRoute(n mesh.Node) *api.Route {
	return &api.Route{Kind: routeNode, Node: n.Name, Tunnel: d.apiNode(n).GetTunnel().GetState()}
}
