package daemon

import (
	"context"
	"fmt"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
)

const (
	// grantTick is how often grants are looked for that have expired, and grantStay
	// how long they stay after that, for people to see.
	grantTick = 10 * time.Minute
	grantStay = time.Hour
	// maxGrantsDeleted bounds how many are deleted in one transaction.
	maxGrantsDeleted = 1000
)

// keepGrants deletes grants that have expired until ctx ends: those that nobody deletes
// would fill all nodes.
func (d *Daemon) keepGrants(ctx context.Context) error {
	ticker := time.NewTicker(grantTick)
	defer ticker.Stop()
	trouble := complaint{log: d.log, of: "removal of expired grants"}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			trouble.note(d.deleteExpired(ctx, d.mesh.Time().Add(-grantStay)))
		}
	}
}

// deleteExpired deletes what has expired before a moment, if this is the authority
// whose turn it is.
func (d *Daemon) deleteExpired(ctx context.Context, before time.Time) error {
	if all := d.mesh.Authorities(); len(all) == 0 || !all[0].Local {
		return nil
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	return d.deleteGrants(ctx, func(g *grant) bool { return g.expired(before) })
}

// deleteGrants deletes the grants that are meant.
func (d *Daemon) deleteGrants(ctx context.Context, meant func(*grant) bool) error {
	var gone []mesh.Record
	for _, rec := range d.mesh.List(mesh.KindGrant) {
		if g, err := decodeGrant(rec); err == nil && meant(g) {
			gone = append(gone, mesh.Record{Kind: mesh.KindGrant, Key: rec.Key, Deleted: true})
		}
	}
	for len(gone) > 0 {
		n := min(len(gone), maxGrantsDeleted)
		if err := d.mesh.PutAll(ctx, gone[:n]); err != nil {
			return fmt.Errorf("delete %d grants: %w", n, err)
		}
		gone = gone[n:]
	}
	return nil
}
