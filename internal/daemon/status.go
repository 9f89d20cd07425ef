package daemon

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/version"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
)

// dropWaiting is the reason of packets that have waited for a tunnel in vain. It is
// no reason of the datapath's: that has sent them.
const dropWaiting = "tunnel-not-ready"

// Status tells how this node stands.
func (d *Daemon) Status() *api.GetStatusResponse {
	self := d.mesh.Self()
	out := &api.GetStatusResponse{
		Name: self.Name, Id: string(self.ID), Version: version.Version, Started: timestamppb.New(d.started),
		ExcludedDrivers: d.excluded(),
	}
	note := func(err error) {
		if err != nil {
			out.Problems = append(out.Problems, err.Error())
		}
	}
	note(d.tunnels.current().problem)
	note(d.events.Problem())
	id, in := d.mesh.MeshID()
	if !in {
		return out
	}
	out.MeshId = string(id)
	if d.tunnels.carrier(tunnel.WireGuard) != nil {
		out.TunnelKey = d.rotation.key()
	}
	for _, r := range self.Roles {
		out.Roles = append(out.Roles, string(r))
	}
	note(d.clockProblem())
	d.countNodes(out)
	d.noteEviction(out)
	note(d.certificateProblem())
	note(d.network.problem())
	d.noteEndpoints(out)
	out.Problems = append(out.Problems, d.snapshot().ungrantedInWords()...)
	d.noteTests(out)
	var err error
	out.Drops, err = d.network.drops()
	note(err)
	if lost := d.tunnels.current().givenUp; lost > 0 {
		if out.Drops == nil {
			out.Drops = map[string]uint64{}
		}
		out.Drops[dropWaiting] = lost
	}
	out.Refusals = d.mesh.Refusals()
	return out
}

func (d *Daemon) countNodes(out *api.GetStatusResponse) {
	for _, n := range d.ListNodes() {
		out.NodesTotal++
		if n.GetState() == string(mesh.StateAlive) {
			out.NodesAlive++
		}
		if n.GetTunnel().GetState() == tunnelUp {
			out.TunnelsUp++
		}
	}
}

func (d *Daemon) noteEndpoints(out *api.GetStatusResponse) {
	s := d.snapshot()
	for e := range s.local() {
		out.EndpointsLocal++
		if a := s.apiEndpoint(e); a.GetState() != endpointReady {
			out.Problems = append(out.Problems, fmt.Sprintf("endpoint %s of vpc %s is %s: %s", e.name, a.GetVpc(), a.GetState(), a.GetMessage()))
		}
	}
}

// certificateProblem says that nobody believes this node any more, or soon.
func (d *Daemon) certificateProblem() error {
	if at, expired := d.mesh.Expired(); expired {
		return fmt.Errorf("this node's certificate expired at %s, before an authority could renew it: no other node has anything to do with it; leave and join with a new token",
			at.UTC().Format(time.RFC3339))
	}
	if d.IsAuthority() && !d.mesh.HasMeshKey() {
		return mesh.ErrNotMeshKey
	}
	if err := d.mesh.RenewalTrouble(); err != nil {
		return fmt.Errorf("this node's certificate expires at %s and cannot be renewed, which is tried again: %w",
			d.mesh.Self().CertificateExpires.UTC().Format(time.RFC3339), err)
	}
	return nil
}

// clockProblem says that this node's clock is wrong.
func (d *Daemon) clockProblem() error {
	switch skew := d.mesh.ClockSkew().Round(time.Second); {
	case skew > 0:
		return fmt.Errorf("this node's clock is %s ahead of its peers': set it; their time is used meanwhile", skew)
	case skew < 0:
		return fmt.Errorf("this node's clock is %s behind its peers': set it; their time is used meanwhile", -skew)
	}
	return nil
}
