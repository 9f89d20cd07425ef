package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/api/edgenet/v1/edgenetv1connect"
	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// The verdicts of a trace.
const (
	tracePasses  = "passes"
	traceDropped = "dropped"
	traceUnknown = "unknown"
)

// Trace tells what becomes of the first packet of a flow: from this node's
// records, and from the programs that run on the hosts of both ends.
func (d *Daemon) Trace(ctx context.Context, req *api.TraceRequest) (*api.TraceResponse, error) {
	packet, err := parseTraced(req)
	if err != nil {
		return nil, invalid("trace: %w", err)
	}
	s := d.snapshot()
	v, ok := s.vpcs[req.GetVpc()]
	if !ok {
		return nil, notFound("trace: vpc %q: not found", req.GetVpc())
	}
	from, to, err := v.ends(req.GetFrom(), req.GetTo(), &packet)
	if err != nil {
		return nil, err
	}
	t := &tracing{daemon: d, snapshot: s, vpc: v, packet: packet}
	t.answer = &api.TraceResponse{
		Packet: packet.api(),
		Source: &api.TraceSide{Endpoint: from.name, Address: packet.Source.String(), Node: s.nodes[from.node].Name, Direction: policy.Egress.String()},
	}
	if to != nil {
		t.answer.Destination = &api.TraceSide{
			Endpoint: to.name, Address: packet.Destination.String(), Node: s.nodes[to.node].Name, Direction: policy.Ingress.String(),
		}
	}
	t.ask(ctx, from, to)
	t.compare(to)
	t.conclude()
	return t.answer, nil
}

// ends finds who sends and who receives, and gives the packet its addresses. The
// receiver is nil for an address that nobody has.
func (v *vpc) ends(fromText, toText string, p *firstPacket) (from, to *endpoint, err error) {
	if from, p.Source, err = v.end(fromText); err != nil {
		return nil, nil, fmt.Errorf("trace: from %w", err)
	}
	if to, p.Destination, err = v.end(toText); err != nil {
		return nil, nil, fmt.Errorf("trace: to %w", err)
	}
	if from == nil {
		return nil, nil, notFound("trace: from %s: no endpoint of vpc %s has it", fromText, v.name)
	}
	if err := agree(from, to, p); err != nil {
		return nil, nil, invalid("trace: %w", err)
	}
	return from, to, nil
}

// end finds an endpoint by its name, or an address and who has it. With a name
// there is no address yet.
func (v *vpc) end(text string) (*endpoint, netip.Addr, error) {
	if addr, err := records.ParseAddress(text); err == nil {
		return v.at(addr), addr, nil
	}
	if err := policy.ValidateName(text); err != nil {
		return nil, netip.Addr{}, invalid("%q: want an endpoint's name or an address", text)
	}
	if e := v.names[text]; e != nil {
		return e, netip.Addr{}, nil
	}
	return nil, netip.Addr{}, notFound("endpoint %q of vpc %s: not found", text, v.name)
}

// agree gives ends that were named their first addresses of one family: that of
// the protocol and of the other end, IPv4 if both have it.
func agree(from, to *endpoint, p *firstPacket) error {
	for _, four := range []bool{true, false} {
		if p.Protocol == ipICMP && !four || p.Protocol == ipICMPv6 && four {
			continue
		}
		source, ok := from.address(p.Source, four)
		if !ok {
			continue
		}
		destination, ok := to.address(p.Destination, four)
		if !ok {
			continue
		}
		p.Source, p.Destination = source, destination
		return nil
	}
	return fmt.Errorf("the two have no addresses of one family that protocol %s is for", formatProtocol(p.Protocol))
}

// address is the one named if that is of the family, or the endpoint's first of
// it if none is named.
func (e *endpoint) address(named netip.Addr, four bool) (netip.Addr, bool) {
	if named.IsValid() {
		return named, named.Is4() == four
	}
	for _, addr := range e.addrs {
		if addr.Is4() == four {
			return addr, true
		}
	}
	return netip.Addr{}, false
}

// tracing is a trace in the making.
type tracing struct {
	daemon   *Daemon
	snapshot *snapshot
	vpc      *vpc
	packet   firstPacket
	answer   *api.TraceResponse
	// egress and ingress are what the nodes of both ends say.
	egress, ingress *api.TraceSideResponse
}

// ask asks both nodes, each of which may be this one.
func (t *tracing) ask(ctx context.Context, from, to *endpoint) {
	var both sync.WaitGroup
	both.Go(func() { t.egress = t.askSide(ctx, from.node, policy.Egress) })
	if to != nil {
		both.Go(func() { t.ingress = t.askSide(ctx, to.node, policy.Ingress) })
	}
	both.Wait()
}

func (t *tracing) askSide(ctx context.Context, node mesh.NodeID, dir policy.Direction) *api.TraceSideResponse {
	req := &api.TraceSideRequest{Vni: t.vpc.vni(), Packet: t.packet.api(), Direction: dir.String()}
	var res *api.TraceSideResponse
	var err error
	if node == t.snapshot.self.ID {
		res, err = t.daemon.TraceSide(ctx, req)
	} else {
		res, err = askPeer(ctx, t.daemon, node, req, func(c edgenetv1connect.PeerServiceClient) func(context.Context, *api.TraceSideRequest) (*api.TraceSideResponse, error) {
			return c.TraceSide
		})
	}
	if err != nil {
		return &api.TraceSideResponse{Missing: fmt.Sprintf("node %s could not be asked: %v", t.snapshot.nodes[node].Name, err)}
	}
	return res
}

// compare puts what this node's records say beside what the other nodes' records
// and programs say.
func (t *tracing) compare(to *endpoint) {
	egress, ingress := t.vpc.decide(&t.packet)
	t.note(t.answer.GetSource(), t.egress, egress)
	if to != nil {
		t.note(t.answer.GetDestination(), t.ingress, ingress)
	}
}

// decide is what the records say of both sides of a packet; ingress is nil if
// nobody has its destination.
func (v *vpc) decide(p *firstPacket) (egress, ingress *api.Decision) {
	if v.at(p.Destination) == nil {
		return unowned(v, p), nil
	}
	e := v.whole().Explain(p.Flow)
	return decision(e.Egress), decision(e.Ingress)
}

// unowned is what becomes of a packet to an address that no endpoint has.
func unowned(v *vpc, p *firstPacket) *api.Decision {
	if prefix, ok := v.gatewayOf(p.Destination); ok {
		echo := isICMP(p.Protocol) && uint8(p.Port>>8) == echoRequests[p.Protocol]
		return &api.Decision{Passes: echo, Why: fmt.Sprintf("%s is the gateway of %s, which answers pings and nothing else", p.Destination, prefix)}
	}
	return &api.Decision{Why: fmt.Sprintf("no endpoint of vpc %s has %s", v.name, p.Destination)}
}

// gatewayOf is the prefix whose gateway has the address, if one has.
func (v *vpcRecord) gatewayOf(addr netip.Addr) (netip.Prefix, bool) {
	i := slices.IndexFunc(v.prefixes, func(p netip.Prefix) bool { return records.Gateway(p) == addr })
	if i < 0 {
		return netip.Prefix{}, false
	}
	return v.prefixes[i], true
}

// note fills in one side.
func (t *tracing) note(side *api.TraceSide, said *api.TraceSideResponse, own *api.Decision) {
	side.Records, side.Program, side.Missing = own, said.GetProgram(), said.GetMissing()
	problem := func(format string, args ...any) {
		t.answer.Problems = append(t.answer.Problems, fmt.Sprintf("%s of %s: ", side.GetDirection(), side.GetEndpoint())+fmt.Sprintf(format, args...))
	}
	if side.GetMissing() != "" {
		problem("%s", side.GetMissing())
	}
	if theirs := said.GetRecords(); theirs != nil && !same(theirs, own) {
		problem("node %s has other records than this one: by those it %s (%s)", side.GetNode(), passes(theirs), theirs.GetWhy())
	}
	if program := side.GetProgram(); program != nil {
		if why := disagree(own, program); why != "" {
			problem("records and program disagree: by the records it %s (%s), by the program that runs on %s it %s (%s)",
				passes(own), own.GetWhy(), side.GetNode(), passes(program), why)
		}
	}
}

// disagree says what a program says if that is not what the records say. A packet
// that a program drops before it comes to any rule is no matter of rules.
func disagree(own, program *api.Decision) string {
	switch program.GetBy() {
	case "rules":
		if !same(own, program) {
			return program.GetWhy()
		}
	case "flow", "related":
		if own.GetPasses() != program.GetPasses() {
			return program.GetWhy()
		}
	}
	return ""
}

func same(a, b *api.Decision) bool {
	return a.GetPasses() == b.GetPasses() && a.GetGroup() == b.GetGroup() && a.GetRule() == b.GetRule()
}

func passes(d *api.Decision) string {
	if d.GetPasses() {
		return "passes"
	}
	return "is dropped"
}

// conclude says in a word what becomes of the packet: what programs say counts,
// and records only where no program could be asked.
func (t *tracing) conclude() {
	a := t.answer
	a.Route = t.egress.GetRoute()
	if a.GetRoute() == nil {
		a.Route = &api.Route{Kind: "unknown", Tunnel: "unknown"}
	}
	a.Verdict = tracePasses
	for _, side := range []*api.TraceSide{a.GetSource(), a.GetDestination()} {
		switch program := side.GetProgram(); {
		case side == nil:
		case program == nil && a.GetVerdict() == tracePasses:
			a.Verdict = traceUnknown
		case program != nil && !program.GetPasses():
			a.Verdict, a.Reason = traceDropped, program.GetReason()
			return
		}
	}
}

// decision is a verdict of the simulator in the API's words.
func decision(verdict policy.Verdict) *api.Decision {
	return &api.Decision{Passes: verdict.Allowed, Group: verdict.Rule.Group, Rule: verdict.Rule.ID, Why: verdict.Why, By: "rules"}
}
