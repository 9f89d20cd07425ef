package daemon

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"edgenet.dev/edgenet/pkg/mesh"
)

// IsAuthority is true if this node may sign VPCs and groups.
func (d *Daemon) IsAuthority() bool {
	return slices.Contains(d.mesh.Self().Roles, mesh.RoleAuthority)
}

// Forward asks one authority after the other, those that are alive first, until
// one has answered; call makes the call over a client that proves who this node
// is. Only a call that reached no authority is tried at the next.
func (d *Daemon) Forward(ctx context.Context, call func(client *http.Client, baseURL string) error, unreachable func(error) bool) error {
	if _, in := d.mesh.MeshID(); !in {
		return precondition("this node is in no mesh; run init or join first")
	}
	var last error
	for _, n := range d.mesh.Authorities() {
		err := call(d.mesh.PeerClient(n.ID), mesh.PeerURL(n.ID))
		if err == nil || !unreachable(err) {
			return err
		}
		last = fmt.Errorf("ask authority %s: %w", n.Name, err)
		if ctx.Err() != nil {
			break
		}
	}
	if last == nil {
		return unavailable("no authority of the mesh is known here")
	}
	return unavailable("no authority could be reached: %w", last)
}

// AdmitCaller decides whether a node may ask this authority for changes.
func (d *Daemon) AdmitCaller(ctx context.Context) error {
	caller, ok := mesh.PeerFromContext(ctx)
	if !ok {
		return denied("the caller is no admitted node")
	}
	if !d.IsAuthority() {
		return precondition("node %s is not an authority", d.mesh.Self().Name)
	}
	if len(d.cfg.ForwardFrom) == 0 {
		return nil
	}
	for _, role := range caller.Roles {
		if slices.Contains(d.cfg.ForwardFrom, string(role)) {
			return nil
		}
	}
	return denied("node %s may not ask for changes: its roles are %v, and this authority's forward-from is %v", caller.Name, caller.Roles, d.cfg.ForwardFrom)
}

// AwaitVPC waits a bounded time until what an authority has done is known here
// too, so that the caller's next request finds it.
func (d *Daemon) AwaitVPC(ctx context.Context, name string) {
	d.await(ctx, func(s *snapshot) bool { return s.vpcs[name] != nil })
}

// AwaitVPCGone is AwaitVPC for a deletion.
func (d *Daemon) AwaitVPCGone(ctx context.Context, name string) {
	d.await(ctx, func(s *snapshot) bool { return s.vpcs[name] == nil })
}

// AwaitGroup waits until the group has exactly these rules here.
func (d *Daemon) AwaitGroup(ctx context.Context, name, vpcName string, ruleIDs []string) {
	d.await(ctx, func(s *snapshot) bool {
		_, g, err := s.group(name, vpcName)
		if err != nil || len(g.rules) != len(ruleIDs) {
			return false
		}
		for _, r := range g.rules {
			if !slices.Contains(ruleIDs, r.ID()) {
				return false
			}
		}
		return true
	})
}

// AwaitGroupGone is AwaitGroup for a deletion.
func (d *Daemon) AwaitGroupGone(ctx context.Context, name, vpcName string) {
	d.await(ctx, func(s *snapshot) bool {
		_, _, err := s.group(name, vpcName)
		return err != nil
	})
}
