package daemon

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// The states of a grant.
const (
	grantUsed    = "used"
	grantUnused  = "unused"
	grantExpired = "expired"
)

// maxGrantTTL bounds how long a grant lasts that ends: more is as good as never.
const maxGrantTTL = 100 * 365 * 24 * time.Hour

// CreateGrant lets a node attach an endpoint, or changes what it lets it attach. The
// same again changes nothing.
func (d *Daemon) CreateGrant(ctx context.Context, req *api.CreateGrantRequest) (*api.Grant, error) {
	d.changing.Lock()
	defer d.changing.Unlock()
	s := d.snapshot()
	g, err := d.parseGrant(s, req)
	if err != nil {
		return nil, fmt.Errorf("create grant %s: %w", req.GetName(), err)
	}
	old, err := d.grantOf(g.key())
	if err != nil {
		return nil, fmt.Errorf("create grant %s: %w", req.GetName(), err)
	}
	g.record.CreatedMs = d.mesh.Time().UnixMilli()
	if old != nil {
		g.record.CreatedMs = old.record.GetCreatedMs()
	}
	if old == nil || !proto.Equal(old.record, g.record) {
		words := s.grantInWords("create", g)
		err := d.noted(ctx, change{vpc: s.vpcs[req.GetVpc()], words: words}, nil, func() error {
			return d.putRecord(ctx, mesh.KindGrant, g.key(), g.record)
		})
		if err != nil {
			return nil, fmt.Errorf("create grant %s: %w", req.GetName(), err)
		}
		d.log.Info("grant created", "grant", words, "who", Caller(ctx))
	}
	return d.snapshot().apiGrant(g, d.mesh.Time()), nil
}

// parseGrant reads a request, but for when the grant was made.
func (d *Daemon) parseGrant(s *snapshot, req *api.CreateGrantRequest) (*grant, error) {
	g, err := d.grantFor(s, req.GetName(), req.GetVpc(), req.GetNode())
	if err != nil {
		return nil, err
	}
	if n, known := s.nodes[g.node]; !known || n.State.Gone() {
		return nil, notFound("node %q: is not in the mesh any more", req.GetNode())
	}
	v := s.vpcs[req.GetVpc()]
	for _, text := range req.GetIps() {
		addr, err := records.ParseAddress(text)
		if err != nil {
			return nil, invalid("%w", err)
		}
		if _, err := records.CheckAddress(v.prefixes, addr); err != nil {
			return nil, invalid("%w", err)
		}
		g.addrs = append(g.addrs, addr)
	}
	for _, text := range req.GetPrefixes() {
		p, err := records.ParseRouted(text)
		if err != nil {
			return nil, invalid("%w", err)
		}
		if err := records.CheckRouted(v.prefixes, p); err != nil {
			return nil, invalid("%w", err)
		}
		g.routed = append(g.routed, p)
	}
	for _, name := range req.GetGroups() {
		if _, _, err := s.group(name, v.name); err != nil {
			return nil, err
		}
	}
	if g.expires, err = d.grantEnd(req); err != nil {
		return nil, err
	}
	g.record = g.encoded(req.GetGroups())
	if err := g.record.Check(); err != nil {
		return nil, invalid("%w", err)
	}
	return g, nil
}

// encoded is the record of a grant, which was not made yet.
func (g *grant) encoded(groups []string) *records.Grant {
	out := records.GrantOf(g.addrs, g.routed, groups)
	if !g.expires.IsZero() {
		out.ExpiresMs = g.expires.UnixMilli()
	}
	return out
}

// grantEnd is when a grant that is asked for ends; zero is never.
func (d *Daemon) grantEnd(req *api.CreateGrantRequest) (time.Time, error) {
	now := d.mesh.Time()
	switch ttl := req.GetTtlSeconds(); {
	case ttl != 0 && req.GetExpires() != nil:
		return time.Time{}, invalid("both a ttl and a time at which it ends: want one of them")
	case ttl > uint64(maxGrantTTL/time.Second):
		return time.Time{}, invalid("ttl of %d s: at most %d s", ttl, maxGrantTTL/time.Second)
	case ttl != 0:
		return time.UnixMilli(now.Add(time.Duration(ttl) * time.Second).UnixMilli()), nil
	case req.GetExpires() == nil:
		return time.Time{}, nil
	}
	end := req.GetExpires().AsTime()
	if err := req.GetExpires().CheckValid(); err != nil || end.After(now.Add(maxGrantTTL)) {
		return time.Time{}, invalid("it would end at %s: want a time within %s", end.Format(time.RFC3339), maxGrantTTL)
	}
	if !end.After(now) {
		return time.Time{}, invalid("it would have ended at %s already, it is %s", end.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return time.UnixMilli(end.UnixMilli()), nil
}

// grantFor names a grant, by names that people use.
func (d *Daemon) grantFor(s *snapshot, name, vpcName, nodeName string) (*grant, error) {
	if err := policy.ValidateName(name); err != nil {
		return nil, invalid("%w", err)
	}
	v, ok := s.vpcs[vpcName]
	if !ok {
		return nil, notFound("vpc %q: not found", vpcName)
	}
	g := &grant{holder: holder{mesh.NodeID(nodeName), name}, vni: v.vni()}
	if n, known := d.mesh.Node(nodeName); known {
		g.node = n.ID
	} else if _, granted := d.mesh.Get(mesh.KindGrant, g.key()); !granted { // to a node that was forgotten
		return nil, notFound("node %q: not found", nodeName)
	}
	return g, nil
}

// grantOf reads a grant as its record has it; nil if there is none.
func (d *Daemon) grantOf(key string) (*grant, error) {
	rec, ok := d.mesh.Get(mesh.KindGrant, key)
	if !ok {
		return nil, nil //nolint:nilnil // none is no error
	}
	return decodeGrant(rec)
}

// grantInWords says what is done with a grant.
func (s *snapshot) grantInWords(verb string, g *grant) string {
	words := []string{verb, "grant", g.name, "on node", s.nodes[g.node].Name}
	if g.record == nil {
		return strings.Join(words, " ")
	}
	words = append(words, "for", strings.Join(slices.Concat(g.record.GetIps(), g.record.GetPrefixes()), ","))
	if groups := g.record.GetGroups(); len(groups) > 0 {
		words = append(words, "with groups", strings.Join(groups, ","))
	}
	if !g.expires.IsZero() {
		words = append(words, "until", g.expires.UTC().Format(time.RFC3339))
	}
	return strings.Join(words, " ")
}

// DeleteGrant takes a grant away.
func (d *Daemon) DeleteGrant(ctx context.Context, req *api.DeleteGrantRequest) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	s := d.snapshot()
	g, err := d.grantFor(s, req.GetName(), req.GetVpc(), req.GetNode())
	if err != nil {
		return fmt.Errorf("delete grant %s: %w", req.GetName(), err)
	}
	if _, there := d.mesh.Get(mesh.KindGrant, g.key()); !there {
		return notFound("delete grant %s: node %s has none for it in vpc %s", g.name, req.GetNode(), req.GetVpc())
	}
	words := s.grantInWords("delete", g)
	err = d.noted(ctx, change{vpc: s.vpcs[req.GetVpc()], words: words}, nil, func() error {
		return d.mesh.Delete(ctx, mesh.KindGrant, g.key())
	})
	if err != nil {
		return fmt.Errorf("delete grant %s: %w", req.GetName(), err)
	}
	d.log.Info("grant deleted", "grant", words, "who", Caller(ctx))
	return nil
}

// ListGrants returns the grants of one node and one VPC, or of all.
func (d *Daemon) ListGrants(req *api.ListGrantsRequest) ([]*api.Grant, error) {
	s, now := d.snapshot(), d.mesh.Time()
	if _, ok := s.vpcs[req.GetVpc()]; !ok && req.GetVpc() != "" {
		return nil, notFound("vpc %q: not found", req.GetVpc())
	}
	var of mesh.NodeID
	if req.GetNode() != "" {
		n, ok := d.mesh.Node(req.GetNode())
		if !ok {
			return nil, notFound("node %q: not found", req.GetNode())
		}
		of = n.ID
	}
	out := []*api.Grant{}
	for _, rec := range d.mesh.List(mesh.KindGrant) {
		g, err := decodeGrant(rec)
		if err != nil || of != "" && g.node != of {
			continue
		}
		if a := s.apiGrant(g, now); req.GetVpc() == "" || a.GetVpc() == req.GetVpc() {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b *api.Grant) int {
		return cmp.Or(cmp.Compare(a.GetVpc(), b.GetVpc()), cmp.Compare(a.GetName(), b.GetName()), cmp.Compare(a.GetNode(), b.GetNode()))
	})
	return out, nil
}

// apiGrant says what becomes of a grant, too.
func (s *snapshot) apiGrant(g *grant, now time.Time) *api.Grant {
	out := &api.Grant{
		Name: g.name, Node: s.nodes[g.node].Name, NodeId: string(g.node), Ips: g.record.GetIps(), Prefixes: g.record.GetPrefixes(),
		Groups: g.record.GetGroups(), Created: timestamp(g.record.GetCreatedMs()), State: grantUnused,
	}
	if !g.expires.IsZero() {
		out.Expires = timestamp(g.record.GetExpiresMs())
	}
	v := s.byVNI[g.vni]
	if v != nil {
		out.Vpc = v.name
	}
	switch {
	case g.expired(now):
		out.State = grantExpired
	case v != nil:
		e := &endpoint{node: g.node, vni: g.vni, name: g.name}
		if at, there := place(v.all, e); there && v.all[at].holds() && g.refuse(v.all[at]) == nil {
			out.State = grantUsed
		}
	}
	return out
}

// AwaitGrant waits a bounded time until a grant that an authority has made is known
// here; for nil, until there is none.
func (d *Daemon) AwaitGrant(ctx context.Context, name, vpcName, nodeName string, made *api.Grant) {
	d.await(ctx, func() bool {
		s := d.snapshot()
		g, err := d.grantFor(s, name, vpcName, nodeName)
		if err != nil {
			return true
		}
		now, err := d.grantOf(g.key())
		if now == nil || made == nil {
			return err != nil || now == nil && made == nil
		}
		known := s.apiGrant(now, d.mesh.Time())
		known.State = made.GetState()
		return proto.Equal(known, made)
	})
}

// covers tells whether a grant lets its endpoint be as it is.
func (g *grant) covers(e *endpoint, at time.Time) bool { return !g.expired(at) && g.refuse(e) == nil }

// widened is the grant that an endpoint needs: what it claims, and what a grant that it
// has gives it besides.
func widened(e *endpoint, old *grant, at time.Time) *grant {
	g := &grant{holder: holder{e.node, e.name}, vni: e.vni, addrs: slices.Clone(e.addrs), routed: slices.Clone(e.routed)}
	groups, created := slices.Clone(e.record.GetGroups()), at
	if old != nil {
		if !old.expired(at) {
			g.expires = old.expires
		}
		g.addrs, g.routed = append(g.addrs, old.addrs...), append(g.routed, old.routed...)
		groups, created = append(groups, old.record.GetGroups()...), time.UnixMilli(old.record.GetCreatedMs())
	}
	groups = slices.DeleteFunc(groups, func(name string) bool { return name == records.DefaultGroup })
	g.record = g.encoded(groups)
	g.record.CreatedMs = created.UnixMilli()
	if g.record.Check() != nil { // together they are too much
		return widened(e, nil, at)
	}
	return g
}
