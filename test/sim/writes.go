package sim

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
)

const endpointKind = mesh.KindEndpoint

// record names the record that a step is about.
func (n *node) record(s step) ref {
	switch s.kind {
	case mesh.KindVPC:
		return ref{s.kind, fmt.Sprintf("vpc-%d", s.key)}
	case mesh.KindGroup:
		return ref{s.kind, records.GroupKey(1, fmt.Sprintf("group-%d", s.key))}
	default:
		return ref{endpointKind, n.endpoints[s.key]}
	}
}

// content makes a payload that no other write has.
func (n *node) content(kind mesh.Kind) ([]byte, error) {
	now := n.mesh.Now()
	switch kind {
	case mesh.KindVPC:
		return proto.Marshal(&records.VPC{Vni: 1, Cidrs: []string{"172.16.0.0/16"}, CreatedMs: int64(now)})
	case mesh.KindGroup:
		return proto.Marshal(&records.Group{CreatedMs: int64(now)})
	default:
		return payload(int(now&0xffff), now)
	}
}

// write puts or deletes a record, or has several nodes put it at once.
func (t *trial) write(ctx context.Context, s step) error {
	n := t.nodes[s.node]
	switch s.do {
	case deedBurst:
		return t.burst(ctx, s)
	case deedDelete:
		return t.remove(ctx, n, s)
	default:
		w, r, err := t.put(ctx, n, s)
		if err == nil {
			t.history.acknowledge(n.index, r, w)
		}
		return err
	}
}

// put puts a record. It is not acknowledged yet.
func (t *trial) put(ctx context.Context, n *node, s step) (written, ref, error) {
	r := n.record(s)
	before, _ := n.mesh.Get(r.kind, r.key)
	payload, err := n.content(r.kind)
	if err != nil {
		return written{}, r, err
	}
	made, err := n.mesh.Put(ctx, r.kind, r.key, payload)
	if err != nil {
		return written{}, r, fmt.Errorf("put %s on %s: %w", r, name(n.index), err)
	}
	if made.Version <= before.Version {
		t.history.blame("%s put %s at %d over %d that it had", name(n.index), r, made.Version, before.Version)
	}
	if got, ok := n.mesh.Get(r.kind, r.key); !ok || got.Version < made.Version {
		t.history.blame("%s has put %s at %d and shows %d", name(n.index), r, made.Version, got.Version)
	}
	return written{by: n.id, payload: payload, above: made.Version - 1, upTo: made.Version}, r, nil
}

// remove deletes a record, if it is there. Nothing else happens on the node
// meanwhile.
func (t *trial) remove(ctx context.Context, n *node, s step) error {
	r := n.record(s)
	if _, ok := n.mesh.Get(r.kind, r.key); !ok {
		return nil
	}
	above := n.mesh.Now()
	if err := n.mesh.Delete(ctx, r.kind, r.key); err != nil {
		return fmt.Errorf("delete %s on %s: %w", r, name(n.index), err)
	}
	if _, ok := n.mesh.Get(r.kind, r.key); ok {
		t.history.blame("%s has deleted %s and shows it", name(n.index), r)
	}
	t.history.acknowledge(n.index, r, written{by: n.id, deleted: true, above: above, upTo: n.mesh.Now()})
	return nil
}

// burst puts one record from all authorities that run, three times each, or
// from the one node whose endpoint it is, all at once.
func (t *trial) burst(ctx context.Context, s step) error {
	writers := []*node{t.nodes[s.node]}
	if s.kind != endpointKind {
		writers = nil
		for _, n := range t.up() {
			if n.index < t.cfg.Authorities {
				writers = append(writers, n)
			}
		}
	}
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		errs  []error
	)
	for _, n := range writers {
		for range 3 {
			group.Go(func() {
				w, r, err := t.put(ctx, n, s)
				if err == nil {
					t.history.acknowledge(n.index, r, w)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			})
		}
	}
	group.Wait()
	return errors.Join(errs...)
}
