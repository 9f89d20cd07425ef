package daemon

import (
	"context"
	"errors"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/mesh"
)

// BackupAuthority returns what makes another host an authority of the mesh, encrypted.
// Note is kept of it first.
func (d *Daemon) BackupAuthority(ctx context.Context, passphrase string) (*api.BackupAuthorityResponse, error) {
	if !d.IsAuthority() {
		return nil, precondition("back up authority: %w", d.authorityHint(mesh.ErrNotAuthority))
	}
	out := &api.BackupAuthorityResponse{}
	err := d.noted(ctx, change{words: "back up the mesh's key"}, nil, func() (err error) {
		out.Backup, err = d.mesh.Backup(ctx, passphrase)
		return err
	})
	if errors.Is(err, mesh.ErrPassphraseShort) {
		return nil, invalid("%w", err)
	}
	if err != nil {
		return nil, trustError(err)
	}
	d.log.Info("the mesh's key is backed up", "who", Caller(ctx))
	return out, nil
}

// RestoreAuthority makes this node an authority of the mesh that a backup is of. Note
// is kept of it first.
func (d *Daemon) RestoreAuthority(ctx context.Context, backup []byte, passphrase string) (*api.RestoreAuthorityResponse, error) {
	d.membership.Lock()
	defer d.membership.Unlock()
	err := d.noted(ctx, change{words: "make this node an authority by a backup"}, nil, func() error {
		return d.mesh.Restore(ctx, backup, passphrase)
	})
	switch {
	case errors.Is(err, mesh.ErrPassphrase):
		return nil, denied("%w; nothing was changed", err)
	case errors.Is(err, mesh.ErrNotBackup):
		return nil, invalid("%w; nothing was changed", err)
	case err != nil:
		return nil, membershipError(err)
	}
	d.settle(ctx)
	id, _ := d.mesh.MeshID()
	d.log.Warn("this node is an authority of the mesh by a backup", "mesh", id, "who", Caller(ctx))
	return &api.RestoreAuthorityResponse{MeshId: string(id), Node: d.apiNode(d.mesh.Self())}, nil
}
