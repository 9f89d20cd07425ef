package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/mesh"
)

// errEvicted is why nothing works on a node that was evicted.
var errEvicted = errors.New("this node was evicted from the mesh")

// freshState is how a node gets another key.
const freshState = "stop edgenetd, move its state directory away, start it and join"

// isEvicted tells whether this node was evicted.
func (s *snapshot) isEvicted() bool { return s.self.State == mesh.StateEvicted }

// noteEviction says in the status that this node was evicted.
func (d *Daemon) noteEviction(out *api.GetStatusResponse) {
	if at, evicted := d.mesh.Evicted(); evicted {
		out.Problems = append(out.Problems, fmt.Sprintf("%v at %s: its endpoints are cut off, and no node has anything to do with it; to come back with another key, %s",
			errEvicted, at.UTC().Format(time.RFC3339), freshState))
	}
}

// EvictNode takes a node out of the mesh for good. Note is kept of it first.
func (d *Daemon) EvictNode(ctx context.Context, nameOrID string) (*api.EvictNodeResponse, error) {
	n, known := d.mesh.Admitted(nameOrID)
	switch {
	case !d.IsAuthority():
		return nil, precondition("evict node %q: %w", nameOrID, d.authorityHint(mesh.ErrNotAuthority))
	case !known:
		return nil, notFound("node %q: not found; one that was dead for 30 days is forgotten, and only the node that made the mesh knows it", nameOrID)
	case n.State == mesh.StateEvicted:
		return &api.EvictNodeResponse{Node: d.apiNode(n), Already: true}, nil
	case n.Local:
		return nil, precondition("evict node %q: %w", nameOrID, mesh.ErrEvictSelf)
	}
	out := &api.EvictNodeResponse{}
	err := d.noted(ctx, change{words: fmt.Sprintf("evict node %s (%s)", n.Name, n.ID)}, nil, func() error {
		evicted, already, err := d.mesh.Evict(ctx, string(n.ID))
		out.Node, out.Already = d.apiNode(evicted), already
		return err
	})
	if err != nil {
		return nil, trustError(err)
	}
	d.log.Warn("node is evicted", "node", n.ID, "name", n.Name, "who", Caller(ctx))
	return out, nil
}

// RotateGossipKey replaces the gossip key. Note is kept of it first.
func (d *Daemon) RotateGossipKey(ctx context.Context) (*api.RotateGossipKeyResponse, error) {
	if !d.IsAuthority() {
		return nil, precondition("rotate gossip key: %w", d.authorityHint(mesh.ErrNotAuthority))
	}
	out := &api.RotateGossipKeyResponse{}
	err := d.noted(ctx, change{words: "rotate gossip key"}, nil, func() (err error) {
		out.Generation, err = d.mesh.RotateGossipKey(ctx)
		return err
	})
	if err != nil {
		return nil, trustError(err)
	}
	d.log.Info("gossip key is replaced", "generation", out.GetGeneration(), "who", Caller(ctx))
	return out, nil
}

// trustError gives an error of mesh.Evict or mesh.RotateGossipKey, which says what
// was tried, its code.
func trustError(err error) error {
	switch {
	case errors.Is(err, mesh.ErrUnknownNode):
		return notFound("%w", err)
	case errors.Is(err, mesh.ErrNotInMesh), errors.Is(err, mesh.ErrNotAuthority), errors.Is(err, mesh.ErrNotMeshKey),
		errors.Is(err, mesh.ErrEvictSelf), errors.Is(err, mesh.ErrEvicted):
		return precondition("%w", err)
	default:
		return err
	}
}
