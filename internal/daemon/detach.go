package daemon

import (
	"context"
	"fmt"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// DetachEndpoint removes an endpoint of this node. One whose VPC was deleted
// meanwhile is found by its name alone.
func (d *Daemon) DetachEndpoint(ctx context.Context, name, vpcName string) error {
	if err := policy.ValidateName(name); err != nil {
		return invalid("detach endpoint: %w", err)
	}
	if err := policy.ValidateName(vpcName); err != nil {
		return invalid("detach endpoint %s: vpc: %w", name, err)
	}
	if _, in := d.mesh.MeshID(); !in {
		return precondition("detach endpoint %s: this node is in no mesh", name)
	}
	return d.network.detach(ctx, name, vpcName)
}

func (n *network) detach(ctx context.Context, name, vpcName string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.reader.read()
	leaving := s.orphans(name)
	v, known := s.vpcs[vpcName]
	if known {
		if e := s.find(&endpoint{node: s.self.ID, vni: v.vni(), name: name}); e != nil {
			leaving = append(leaving, e)
		}
	}
	switch {
	case len(leaving) > 0:
	case !known:
		return notFound("detach endpoint %s: vpc %q: not found", name, vpcName)
	case v.names[name] != nil:
		return notFound("detach endpoint %s of vpc %s: is attached on node %s, not here", name, vpcName, s.nodes[v.names[name].node].Name)
	default:
		return notFound("detach endpoint %s of vpc %s: not found", name, vpcName)
	}
	look := news
	for _, e := range leaving {
		if e.record.GetProblem() != "" {
			look = everything // half of it may be there
		}
		if err := n.mesh.Delete(ctx, mesh.KindEndpoint, e.key()); err != nil {
			return fmt.Errorf("detach endpoint %s: %w", name, err)
		}
	}
	// The claims are gone everywhere from here on, so the kernel must follow.
	if _, err := n.apply(context.WithoutCancel(ctx), nil, look); err != nil {
		poke(n.dirty)
		return fmt.Errorf("detach endpoint %s: %w", name, err)
	}
	n.log.Info("endpoint detached", "endpoint", name, "vpc", vpcName)
	return nil
}

// orphans are the endpoints of this node of a name whose VPC is gone: it was
// deleted by an authority that had not heard of them yet.
func (s *snapshot) orphans(name string) []*endpoint {
	var out []*endpoint
	for _, e := range s.strays {
		if e.node == s.self.ID && e.name == name {
			out = append(out, e)
		}
	}
	return out
}
