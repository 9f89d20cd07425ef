package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/audit"
	"edgenet.dev/edgenet/pkg/mesh"
)

// settle bounds the wait for the tunnel device after init and join, so that an
// attach right after them finds it.
const settle = 10 * time.Second

// noteAdmission keeps note of a node that came in by a token.
func (d *Daemon) noteAdmission(n mesh.Node, from string) {
	entry := audit.Entry{
		Time: time.Now().UTC(), Who: fmt.Sprintf("node %s (%s) at %s, by a token", n.Name, n.ID, from),
		What: fmt.Sprintf("join the mesh with the roles %v", n.Roles),
	}
	if err := d.audit.Append(entry); err != nil {
		d.log.Warn("no note is kept of an admission", "node", n.Name, "err", err)
	}
}

// Init makes a mesh whose authority is this node.
func (d *Daemon) Init(ctx context.Context) (*api.InitResponse, error) {
	d.membership.Lock()
	defer d.membership.Unlock()
	if err := d.mesh.Init(ctx); err != nil {
		return nil, membershipError(err)
	}
	d.settle(ctx)
	id, _ := d.mesh.MeshID()
	return &api.InitResponse{MeshId: string(id), Node: d.apiNode(d.mesh.Self())}, nil
}

// Join makes this node a member of the mesh that the token names.
func (d *Daemon) Join(ctx context.Context, token string) (*api.JoinResponse, error) {
	d.membership.Lock()
	defer d.membership.Unlock()
	if err := d.mesh.Join(ctx, token); err != nil {
		return nil, membershipError(err)
	}
	d.settle(ctx)
	id, _ := d.mesh.MeshID()
	return &api.JoinResponse{MeshId: string(id), Node: d.apiNode(d.mesh.Self())}, nil
}

// membershipError gives an error of mesh.Init or mesh.Join, which says what was
// tried, its code.
func membershipError(err error) error {
	var network net.Error
	switch {
	case errors.Is(err, mesh.ErrInMesh):
		return precondition("%w; leave it first", err)
	case errors.Is(err, mesh.ErrTokenMalformed):
		return invalid("%w", err)
	case errors.Is(err, mesh.ErrTokenUnknown), errors.Is(err, mesh.ErrTokenExpired), errors.Is(err, mesh.ErrTokenUsedUp):
		return denied("%w", err)
	case errors.Is(err, mesh.ErrNameTaken):
		return exists("%w; give this one another --name", err)
	case errors.Is(err, mesh.ErrEvicted):
		return denied("%w; it comes in with another key: %s", err, freshState)
	case errors.Is(err, mesh.ErrPrefixTaken):
		return exists("%w", err)
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &network), errors.Is(err, io.EOF):
		return unavailable("%w", err)
	default:
		return err
	}
}

// settle waits until the first round has made the tunnel device. If it cannot be
// made, status says why; the membership stands.
func (d *Daemon) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	changed, stop := d.changes.subscribe()
	defer stop()
	poke(d.tunnels.dirty)
	for !d.tunnels.current().ready() && d.tunnels.current().problem == nil {
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// CreateToken makes a join token.
func (d *Daemon) CreateToken(ctx context.Context, req *api.CreateTokenRequest) (*api.CreateTokenResponse, error) {
	if limit := uint64(mesh.MaxTokenTTL / time.Second); req.GetTtlSeconds() > limit {
		return nil, invalid("create token: ttl of %d s: at most %d s", req.GetTtlSeconds(), limit)
	}
	if req.GetUses() > mesh.MaxTokenUses {
		return nil, invalid("create token: %d uses: at most %d", req.GetUses(), mesh.MaxTokenUses)
	}
	want := mesh.TokenRequest{TTL: time.Duration(req.GetTtlSeconds()) * time.Second, Uses: int(req.GetUses())}
	if want.TTL == 0 {
		want.TTL = time.Hour
	}
	if want.Uses == 0 {
		want.Uses = 1
	}
	for _, r := range req.GetRoles() {
		role := mesh.Role(r)
		if slices.Contains(want.Roles, role) {
			continue
		}
		switch role {
		case mesh.RoleEdge, mesh.RoleCloud, mesh.RoleGateway, mesh.RoleRelay, mesh.RoleAuthority:
			want.Roles = append(want.Roles, role)
		default:
			return nil, invalid("create token: role %q: want edge, cloud, gateway, relay or authority", r)
		}
	}
	if len(want.Roles) == 0 {
		want.Roles = []mesh.Role{mesh.RoleEdge}
	}
	if _, in := d.mesh.MeshID(); !in {
		return nil, precondition("create token: %w", d.authorityHint(mesh.ErrNotInMesh))
	}
	if !d.IsAuthority() {
		return nil, precondition("create token: %w", d.authorityHint(mesh.ErrNotAuthority))
	}
	var token string
	var expires time.Time
	words := fmt.Sprintf("create token for %d nodes with the roles %v, good for %s", want.Uses, want.Roles, want.TTL)
	err := d.noted(ctx, change{words: words}, nil, func() (err error) {
		token, expires, err = d.mesh.CreateToken(want) // Its errors say what was tried.
		return err
	})
	if errors.Is(err, mesh.ErrNotMeshKey) {
		return nil, unavailable("%w", err)
	}
	if err != nil {
		return nil, err
	}
	d.log.Info("join token created", "roles", want.Roles, "uses", want.Uses, "expires", expires)
	return &api.CreateTokenResponse{Token: token, Expires: timestamppb.New(expires)}, nil
}

// authorityHint adds which node to ask.
func (d *Daemon) authorityHint(err error) error {
	if _, in := d.mesh.MeshID(); !in {
		return fmt.Errorf("%w; run init or join first", err)
	}
	for _, n := range d.mesh.Authorities() {
		return fmt.Errorf("%w; ask %s", err, n.Name)
	}
	return err
}

// Leave detaches all endpoints, tells the mesh, and forgets it. If the tunnels
// cannot be taken down after that, it is tried again until they are.
func (d *Daemon) Leave(ctx context.Context) error {
	d.membership.Lock()
	defer d.membership.Unlock()
	if _, in := d.mesh.MeshID(); !in {
		return precondition("leave: this node is in no mesh")
	}
	if err := d.network.leave(ctx, d.mesh.Leave); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	if err := d.tunnels.down(ctx); err != nil {
		return fmt.Errorf("leave: left the mesh, but: %w", err)
	}
	d.log.Info("left the mesh")
	return nil
}
