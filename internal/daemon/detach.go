package daemon

import (
	"context"
	"fmt"
	"sync"

	"edgenet.dev/edgenet/pkg/isolation"
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

// detachment is a call that asks for an endpoint to be detached, and what becomes
// of it.
type detachment struct {
	ctx       context.Context //nolint:containedctx // of the call, which waits
	name, vpc string
	// done is true when the datapath has let go of the endpoints, or err says why
	// it has not. keys are theirs; the devices may be there still.
	done bool
	err  error
	keys []isolation.Key
}

// fail notes the first thing that went wrong.
func (d *detachment) fail(err error) {
	if err != nil && d.err == nil {
		d.err = fmt.Errorf("detach endpoint %s: %w", d.name, err)
	}
}

// departures are those that wait for a round.
type departures struct {
	mu   sync.Mutex
	wait []*detachment
}

func (d *departures) add(one *detachment) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wait = append(d.wait, one)
}

func (d *departures) take() []*detachment {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.wait
	d.wait = nil
	return all
}

// detach returns when nothing is left of an endpoint. Of many at once the first
// has one round made for all, and their devices are deleted together; nobody else
// waits for the latter.
func (n *network) detach(ctx context.Context, name, vpcName string) error {
	one := &detachment{ctx: ctx, name: name, vpc: vpcName}
	n.departures.add(one)
	datapath := n.depart(one)
	for _, key := range one.keys {
		if one.err == nil && datapath != nil {
			one.fail(datapath.AwaitGone(context.WithoutCancel(ctx), key))
		}
	}
	if one.err != nil {
		return one.err
	}
	n.log.Info("endpoint detached", "endpoint", name, "vpc", vpcName)
	return nil
}

// depart returns when a round was made for a detachment, and the datapath, nil if
// there is none.
func (n *network) depart(one *detachment) Datapath {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !one.done {
		n.departAll(n.departures.take())
	}
	return n.datapath
}

// departAll withdraws the claims of endpoints, then has the kernel follow. mu is
// held.
func (n *network) departAll(all []*detachment) {
	look, due := news, false
	s := n.reader.read()
	for _, one := range all {
		one.done = true
		leaving, err := s.leaving(one.name, one.vpc)
		one.err = err
		for _, e := range leaving {
			if e.record.GetProblem() != "" {
				look = everything // half of it may be there
			}
			if one.fail(n.withdraw(one.ctx, s, e)); one.err != nil {
				break
			}
			one.keys, due = append(one.keys, isolation.Key{VNI: e.vni, Name: e.name}), true
		}
	}
	if !due {
		return
	}
	// The claims are gone everywhere from here on, so the kernel must follow.
	if _, err := n.apply(context.WithoutCancel(all[0].ctx), nil, look); err != nil {
		poke(n.dirty)
		for _, one := range all {
			one.fail(err)
		}
	}
}

// leaving finds the endpoints of this node that a call means: one, and those of
// its name that are orphans.
func (s *snapshot) leaving(name, vpcName string) ([]*endpoint, error) {
	leaving := s.orphans(name)
	v, known := s.vpcs[vpcName]
	if known {
		if e := s.find(&endpoint{node: s.self.ID, vni: v.vni(), name: name}); e != nil {
			leaving = append(leaving, e)
		}
	}
	switch {
	case len(leaving) > 0:
		return leaving, nil
	case !known:
		return nil, notFound("detach endpoint %s: vpc %q: not found", name, vpcName)
	case v.names[name] != nil:
		return nil, notFound("detach endpoint %s of vpc %s: is attached on node %s, not here", name, vpcName, s.nodes[v.names[name].node].Name)
	default:
		return nil, notFound("detach endpoint %s of vpc %s: not found", name, vpcName)
	}
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
