package daemon

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
	"edgenet.dev/edgenet/pkg/tunnel/probe"
)

// The states of an endpoint.
const (
	endpointReady      = "ready"
	endpointFailed     = "failed"
	endpointSuperseded = "superseded"
)

func timestamp(ms int64) *timestamppb.Timestamp { return timestamppb.New(time.UnixMilli(ms)) }

func (v *vpc) api() *api.VPC {
	out := &api.VPC{
		Name:      v.name,
		Vni:       v.vni(),
		Created:   timestamp(v.record.GetCreatedMs()),
		Endpoints: uint32(len(v.names)),
	}
	for _, p := range v.prefixes {
		out.Cidrs = append(out.Cidrs, p.String())
		out.Gateways = append(out.Gateways, records.Gateway(p).String())
	}
	return out
}

func (g *group) api(v *vpc) *api.Group {
	out := &api.Group{Name: g.name, Vpc: v.name, Created: timestamp(g.record.GetCreatedMs())}
	for _, r := range g.rules {
		out.Rules = append(out.Rules, apiRule(r))
	}
	return out
}

// apiEndpoint has all but what only the kernel knows.
func (s *snapshot) apiEndpoint(e *endpoint) *api.Endpoint {
	out := &api.Endpoint{
		Name:     e.name,
		Ip:       e.record.GetIp(),
		Mac:      e.record.GetMac(),
		Groups:   e.groups(),
		Node:     s.nodes[e.node].Name,
		NodeId:   string(e.node),
		Kind:     e.record.GetKind(),
		Netns:    e.record.GetNetns(),
		Ifname:   e.record.GetIfname(),
		Device:   e.record.GetDevice(),
		State:    endpointReady,
		Attached: timestamp(e.record.GetAttachedMs()),
		Prefixes: e.record.GetPrefixes(),
		Epoch:    e.record.GetEpoch(),
	}
	for _, addr := range e.addrs {
		out.Ips = append(out.Ips, addr.String())
	}
	if v, ok := s.byVNI[e.vni]; ok {
		out.Vpc = v.name
		for _, a := range e.announced {
			if v.announced[a.addr] == e {
				out.Announced = append(out.Announced, a.addr.String())
			}
		}
	}
	switch {
	case s.isEvicted() && e.node == s.self.ID:
		out.State, out.Message = endpointFailed, errEvicted.Error()
	case e.lost:
		out.State, out.Message = endpointSuperseded, s.whoTook(e)+"; attach it again to take it back, or detach it"
	case e.barred != nil:
		out.State, out.Message = endpointFailed, e.barred.Error()
	case e.record.GetProblem() != "":
		out.State, out.Message = endpointFailed, e.record.GetProblem()
	}
	return out
}

// whoTook says who holds what a superseded endpoint had.
func (s *snapshot) whoTook(e *endpoint) string {
	v := s.byVNI[e.vni]
	if v == nil {
		return "a later attach took its name or address"
	}
	for _, addr := range e.addrs {
		if by := v.hosts[addr]; by != nil {
			return fmt.Sprintf("its address %s was taken by %s on %s", addr, by.name, s.nodes[by.node].Name)
		}
	}
	if by := v.names[e.name]; by != nil {
		return fmt.Sprintf("its name was taken by the endpoint on %s", s.nodes[by.node].Name)
	}
	return "a later attach took its name or address"
}

// ListEndpoints returns the endpoints of one VPC, or of all if vpcName is empty.
func (d *Daemon) ListEndpoints(ctx context.Context, vpcName string) ([]*api.Endpoint, error) {
	s := d.snapshot()
	if _, ok := s.vpcs[vpcName]; !ok && vpcName != "" {
		return nil, notFound("vpc %q: not found", vpcName)
	}
	status, err := d.network.status(ctx)
	if err != nil {
		return nil, err
	}
	out := []*api.Endpoint{}
	for e := range s.endpoints() {
		a := s.apiEndpoint(e)
		if vpcName != "" && a.GetVpc() != vpcName {
			continue
		}
		if e.node == s.self.ID {
			if st, ok := status[isolation.Key{VNI: e.vni, Name: e.name}]; ok {
				addStatus(a, st)
			}
		}
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b *api.Endpoint) int {
		return cmp.Or(cmp.Compare(a.GetVpc(), b.GetVpc()), cmp.Compare(a.GetName(), b.GetName()), cmp.Compare(a.GetNode(), b.GetNode()))
	})
	return out, nil
}

// addStatus adds what the kernel knows of an endpoint of this host.
func addStatus(a *api.Endpoint, st isolation.Status) {
	a.Device = st.Device
	if len(st.MAC) > 0 {
		a.Mac = st.MAC.String()
	}
	a.Counters = &api.Counters{
		RxPackets: st.Counters.RxPackets, RxBytes: st.Counters.RxBytes,
		TxPackets: st.Counters.TxPackets, TxBytes: st.Counters.TxBytes,
		Drops: st.Counters.Drops, Flows: st.Counters.Flows,
		ShadowAllows: st.Counters.ShadowAllows, ShadowDrops: st.Counters.ShadowDrops,
	}
}

// GetEndpoint returns the endpoint that holds the name; of several that claim
// it the one that won.
func (d *Daemon) GetEndpoint(ctx context.Context, name, vpcName string) (*api.Endpoint, error) {
	if err := policy.ValidateName(vpcName); err != nil {
		return nil, invalid("endpoint %q: vpc: %w", name, err)
	}
	all, err := d.ListEndpoints(ctx, vpcName)
	if err != nil {
		return nil, err
	}
	var found *api.Endpoint
	for _, e := range all {
		if e.GetName() == name && e.GetVpc() == vpcName && (found == nil || found.GetState() == endpointSuperseded) {
			found = e
		}
	}
	if found == nil {
		return nil, notFound("endpoint %q of vpc %s: not found", name, vpcName)
	}
	return found, nil
}

// ListNodes returns every known node, by name.
func (d *Daemon) ListNodes() []*api.Node {
	nodes := d.mesh.Nodes()
	out := make([]*api.Node, 0, len(nodes))
	t, rtts := d.tunnels.current(), d.tunnels.probes.stats()
	for _, n := range nodes {
		out = append(out, apiNode(n, t, rtts))
	}
	return out
}

// GetNode returns a node by its name or id.
func (d *Daemon) GetNode(nameOrID string) (*api.Node, error) {
	n, ok := d.mesh.Node(nameOrID)
	if !ok {
		return nil, notFound("node %q: not found", nameOrID)
	}
	return d.apiNode(n), nil
}

func (d *Daemon) apiNode(n mesh.Node) *api.Node {
	return apiNode(n, d.tunnels.current(), d.tunnels.probes.stats())
}

func apiNode(n mesh.Node, t tunnelState, rtts map[netip.Addr]probe.Stats) *api.Node {
	out := &api.Node{
		Name: n.Name, Id: string(n.ID), State: string(n.State), Local: n.Local, Version: n.Version,
		CertificateExpires: timestamppb.New(n.CertificateExpires),
	}
	if n.Prefix.IsValid() {
		out.Prefix, out.Address = n.Prefix.String(), n.Addr.String()
	}
	for _, r := range n.Roles {
		out.Roles = append(out.Roles, string(r))
	}
	for _, l := range n.Links {
		out.Links = append(out.Links, &api.Link{Address: l.Addr.String(), Carrier: l.Carrier})
	}
	if !n.Local {
		out.Tunnel = apiTunnel(n, t, rtts)
	}
	out.Wireguard, out.Ipsec = apiEnds(n)
	return out
}

// snapshot reads the records for an answer.
func (d *Daemon) snapshot() *snapshot {
	d.reading.Lock()
	defer d.reading.Unlock()
	return d.reader.read()
}
