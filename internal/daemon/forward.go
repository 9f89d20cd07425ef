package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// IsAuthority is true if this node may sign VPCs and groups.
func (d *Daemon) IsAuthority() bool {
	return slices.Contains(d.mesh.Self().Roles, mesh.RoleAuthority)
}

// forwardTimeout bounds what one authority may take to answer: one that was cut
// off without a word would otherwise hold the caller for minutes.
const forwardTimeout = 5 * time.Second

// Forward asks one authority after the other, those that are alive first, until
// one has answered; call makes the call over a client that proves who this node
// is. One that was not reached, or did not answer in time, is passed over: all
// changes can be asked for twice.
func (d *Daemon) Forward(ctx context.Context, call func(ctx context.Context, client *http.Client, baseURL string) error, unreachable func(error) bool) error {
	if _, in := d.mesh.MeshID(); !in {
		return precondition("this node is in no mesh; run init or join first")
	}
	var silent []error
	for _, n := range d.mesh.Authorities() {
		if n.Local {
			continue // It would ask itself.
		}
		one, cancel := context.WithTimeout(ctx, forwardTimeout)
		err := call(one, d.mesh.PeerClient(n.ID), mesh.PeerURL(n.ID))
		cancel()
		if err == nil || !unreachable(err) {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("ask authority %s: %w", n.Name, ctx.Err())
		}
		silent = append(silent, fmt.Errorf("authority %s: %w", n.Name, err))
	}
	if len(silent) == 0 {
		return unavailable("no authority of the mesh is known here")
	}
	return unavailable("no authority could be reached: %w", errors.Join(silent...))
}

// AdmitCaller decides whether a node may ask this authority for changes.
func (d *Daemon) AdmitCaller(ctx context.Context) error {
	caller, ok := mesh.PeerFromContext(ctx)
	if !ok {
		return denied("the caller is no admitted node")
	}
	if !d.IsAuthority() {
		// So that the caller asks the next.
		return unavailable("node %s is not an authority", d.mesh.Self().Name)
	}
	if len(d.cfg.ForwardFrom) == 0 {
		return nil
	}
	roles := make([]string, 0, len(caller.Roles))
	for _, role := range caller.Roles {
		roles = append(roles, string(role))
		if slices.Contains(d.cfg.ForwardFrom, string(role)) {
			return nil
		}
	}
	return denied("node %s may not ask for changes: its roles are %s, and this authority's forward-from is %s",
		caller.Name, strings.Join(roles, ","), strings.Join(d.cfg.ForwardFrom, ","))
}

// AdmitTrusted is AdmitCaller for what says which node may do what: a node that was
// taken over must not say so of itself, so that only those are let who are named.
func (d *Daemon) AdmitTrusted(ctx context.Context) error {
	if err := d.AdmitCaller(ctx); err != nil {
		return err
	}
	if len(d.cfg.ForwardFrom) == 0 {
		return denied("grants, and whether they are required, are changed on an authority; "+
			"to let nodes ask for them over the mesh, name their roles in forward-from of the authorities, as %s does not", d.mesh.Self().Name)
	}
	return nil
}

// AwaitVPC waits a bounded time until what an authority has done is known here
// too, so that the caller's next request finds it.
func (d *Daemon) AwaitVPC(ctx context.Context, name string) {
	d.await(ctx, func() bool { return d.snapshot().vpcs[name] != nil })
}

// AwaitVPCGone is AwaitVPC for a deletion.
func (d *Daemon) AwaitVPCGone(ctx context.Context, name string) {
	d.await(ctx, func() bool { return d.snapshot().vpcs[name] == nil })
}

// AwaitGroups waits until the groups are here as they are said to be.
func (d *Daemon) AwaitGroups(ctx context.Context, groups ...*api.Group) {
	d.await(ctx, func() bool {
		s := d.snapshot()
		for _, want := range groups {
			v, g, err := s.group(want.GetName(), want.GetVpc())
			if err != nil || !proto.Equal(g.api(v), want) {
				return false
			}
		}
		return true
	})
}

// AwaitGroupGone is AwaitGroups for a deletion.
func (d *Daemon) AwaitGroupGone(ctx context.Context, name, vpcName string) {
	d.await(ctx, func() bool {
		_, _, err := d.snapshot().group(name, vpcName)
		return err != nil
	})
}

// Presence says whether something is to be there.
type Presence bool

// The two values of Presence.
const (
	Present Presence = true
	Absent  Presence = false
)

// AwaitTest waits until a policy test is known here, or until it is gone.
func (d *Daemon) AwaitTest(ctx context.Context, vpcName, assertion string, want Presence) {
	if canonical, err := policy.ParseAssertion(assertion); err == nil {
		assertion = canonical.String()
	}
	d.await(ctx, func() bool {
		_, kept, err := d.testsOf(vpcName)
		return err == nil && Presence(indexTest(kept, assertion) >= 0) == want
	})
}

// AwaitShadow waits until the VPC's candidate that was made at this time is known
// here, or, for nil, until there is none.
func (d *Daemon) AwaitShadow(ctx context.Context, vpcName string, created *timestamppb.Timestamp) {
	d.await(ctx, func() bool {
		v, ok := d.snapshot().vpcs[vpcName]
		if !ok || v.shadow == nil || created == nil {
			return ok && v.shadow == nil && created == nil
		}
		return !timestamp(v.shadow.record.GetCreatedMs()).AsTime().Before(created.AsTime())
	})
}
