package daemon

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/audit"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard"
)

// rotatePatience is how long a caller is kept waiting for a rotation: less than
// callers wait at most.
const rotatePatience = 45 * time.Second

func (d *Daemon) newRotation(keys *wireguard.Keys) *rotation {
	return &rotation{
		keys: keys, lifetime: d.cfg.TunnelKeyLifetime, ask: d.askKey, self: d.mesh.Self().ID,
		useHalf: func(upper bool) { d.network.half.use(upper) },
		carries: func() bool { return d.network.carries.Load() },
		log:     d.log.With("part", "tunnel"), due: make(chan struct{}, 1), promised: map[mesh.NodeID]time.Time{}, askers: map[mesh.NodeID]asker{},
	}
}

// RotateKeys replaces the keys of this node's tunnels, and waits for that a bounded
// time.
func (d *Daemon) RotateKeys(ctx context.Context) (*api.RotateKeysResponse, error) {
	if _, in := d.mesh.MeshID(); !in {
		return nil, precondition("rotate tunnel keys: this node is in no mesh; run init or join first")
	}
	entry := audit.Entry{Time: time.Now().UTC(), Who: Caller(ctx), What: "rotate tunnel keys"}
	if err := d.audit.Append(entry); err != nil {
		return nil, fmt.Errorf("rotate tunnel keys: no note can be kept of it: %w", err)
	}
	d.log.Info("tunnel keys are to be replaced", "who", entry.Who)
	out := &api.RotateKeysResponse{}
	var problems []error
	out.IkeSas, problems = d.tunnels.rekey(context.WithoutCancel(ctx))
	for _, p := range problems {
		out.Problems = append(out.Problems, p.Error())
	}
	if d.rotation.wireguard() == nil {
		return out, nil
	}
	done := d.rotation.request()
	patience := time.NewTimer(rotatePatience)
	defer patience.Stop()
	select {
	case <-done:
		last := d.rotation.outcome()
		if last.err != nil {
			return nil, fmt.Errorf("rotate tunnel keys: %w", last.err)
		}
		out.Silent, out.GapMs = last.silent, float64(last.gap.Microseconds())/1000
	case <-patience.C: // the answer says what goes on
	case <-ctx.Done():
		return nil, fmt.Errorf("rotate tunnel keys: %w; it goes on", ctx.Err())
	}
	out.Key = d.rotation.key()
	return out, nil
}

// outcome is what came of the last rotation.
func (r *rotation) outcome() rotated {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// key is what there is to say about the key.
func (r *rotation) key() *api.TunnelKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	public := r.keys.Current().Public()
	out := &api.TunnelKey{PublicKey: base64.StdEncoding.EncodeToString(public[:]), Made: timestamppb.New(r.keys.Since()), Rotation: r.words}
	if at := r.expires(); !at.IsZero() {
		out.Expires = timestamppb.New(at)
	}
	return out
}
