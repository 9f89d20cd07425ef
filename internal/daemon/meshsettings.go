package daemon

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
)

// Grants that were just made need time to get everywhere before they are required:
// spreadGrants, and spreadGrant more for each.
const (
	spreadGrants = 5 * time.Second
	spreadGrant  = 2 * time.Millisecond
)

// settings are what holds in the whole mesh.
func (d *Daemon) settings() (*records.Settings, error) {
	rec, ok := d.mesh.Get(mesh.KindSettings, mesh.SettingsKey)
	if !ok {
		return &records.Settings{}, nil
	}
	s, err := records.DecodeSettings(rec)
	if err != nil {
		return nil, fmt.Errorf("read settings of the mesh: %w", err)
	}
	return s, nil
}

// MeshSettings says what holds in the whole mesh, and what comes of it.
func (d *Daemon) MeshSettings() (*api.MeshSettings, error) {
	now, err := d.settings()
	if err != nil {
		return nil, err
	}
	out := &api.MeshSettings{RequireGrants: now.GetRequireGrants(), Grants: uint32(len(d.mesh.List(mesh.KindGrant)))}
	if from := now.RequiredFrom(); out.GetRequireGrants() && d.mesh.Time().Before(from) {
		out.RequiredFrom = timestamp(from.UnixMilli())
	}
	for range d.snapshot().ungrantedClaims() {
		out.Ungranted++
	}
	return out, nil
}

// SetMeshSettings changes what holds in the whole mesh. It returns how many grants it
// made for endpoints that are in force.
func (d *Daemon) SetMeshSettings(ctx context.Context, req *api.SetMeshSettingsRequest) (granted uint32, err error) {
	d.changing.Lock()
	defer d.changing.Unlock()
	now, err := d.settings()
	if err != nil {
		return 0, err
	}
	switch {
	case req.RequireGrants == nil || req.GetRequireGrants() == now.GetRequireGrants():
		return 0, nil
	case req.GetRequireGrants():
		granted, err = d.requireGrants(ctx, req)
	default:
		err = d.dropGrants(ctx, req)
	}
	if err != nil {
		return 0, fmt.Errorf("set mesh: %w", err)
	}
	d.log.Info("settings of the mesh changed", "require_grants", req.GetRequireGrants(), "granted", granted, "who", Caller(ctx))
	return granted, nil
}

// requireGrants has endpoints need a grant from now on, or from when those are known
// everywhere that are made for it.
func (d *Daemon) requireGrants(ctx context.Context, req *api.SetMeshSettingsRequest) (uint32, error) {
	s, at := d.snapshot(), d.mesh.Time()
	missing, err := d.lackingGrants(s, at)
	if err != nil {
		return 0, err
	}
	words, next := "set require-grants on", &records.Settings{RequireGrants: true}
	var made []mesh.Record
	switch {
	case len(missing) == 0:
	case req.GetGrantExisting():
		for _, g := range missing {
			payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(g.record)
			if err != nil {
				return 0, fmt.Errorf("encode grant %s: %w", g.key(), err)
			}
			made = append(made, mesh.Record{Kind: mesh.KindGrant, Key: g.key(), Payload: payload})
		}
		words += fmt.Sprintf(", with grants for %d endpoints that are in force", len(made))
		next.RequiredFromMs = at.Add(spreadGrants + time.Duration(len(made))*spreadGrant).UnixMilli()
	case !req.GetForce():
		first := missing[0]
		return 0, precondition("it would cut off %d endpoints that have no grant, as %s of vpc %s on %s; nothing was changed; "+
			"grant-existing gives them grants before, force cuts them off", len(missing), first.name, s.byVNI[first.vni].name, s.nodes[first.node].Name)
	default:
		words += fmt.Sprintf(", forced: cuts off %d endpoints", len(missing))
	}
	return uint32(len(made)), d.noted(ctx, change{words: words}, nil, func() error {
		if len(made) > 0 {
			if err := d.mesh.PutAll(ctx, made); err != nil {
				return err
			}
		}
		return d.putRecord(ctx, mesh.KindSettings, mesh.SettingsKey, next)
	})
}

// lackingGrants are the grants that the endpoints which are in force would need.
func (d *Daemon) lackingGrants(s *snapshot, at time.Time) ([]*grant, error) {
	var missing []*grant
	for e := range s.endpoints() {
		if !e.holds() || s.byVNI[e.vni] == nil {
			continue
		}
		old, err := d.grantOf(e.key())
		if err != nil {
			return nil, fmt.Errorf("read grant %s: %w", e.key(), err)
		}
		if old == nil || !old.covers(e, at) {
			missing = append(missing, widened(e, old, at))
		}
	}
	return missing, nil
}

// dropGrants has endpoints need no grants any more. It is not done lightly where
// somebody claims what it was not granted.
func (d *Daemon) dropGrants(ctx context.Context, req *api.SetMeshSettingsRequest) error {
	words := "set require-grants off"
	if claims := slices.Collect(d.snapshot().ungrantedClaims()); len(claims) > 0 {
		if !req.GetForce() {
			s, e := d.snapshot(), claims[0]
			return precondition("it would put in force %d claims that were not granted, as %s of vpc %s on %s; nothing was changed; force overrides",
				len(claims), e.name, s.byVNI[e.vni].name, s.nodes[e.node].Name)
		}
		words += fmt.Sprintf(", forced: puts %d claims in force that were not granted", len(claims))
	}
	return d.noted(ctx, change{words: words}, nil, func() error {
		// A tombstone is forgotten in time, and what it stands for could come back.
		return d.putRecord(ctx, mesh.KindSettings, mesh.SettingsKey, &records.Settings{})
	})
}

// AwaitMeshSettings waits a bounded time until settings are known here.
func (d *Daemon) AwaitMeshSettings(ctx context.Context, want *api.MeshSettings) {
	d.await(ctx, func() bool {
		now, err := d.settings()
		return err == nil && now.GetRequireGrants() == want.GetRequireGrants()
	})
}
