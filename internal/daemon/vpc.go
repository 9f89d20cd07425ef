package daemon

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// CreateVPC makes a VPC. The same again changes nothing.
func (d *Daemon) CreateVPC(ctx context.Context, req *api.CreateVPCRequest) (*api.VPC, error) {
	if err := policy.ValidateName(req.GetName()); err != nil {
		return nil, invalid("create vpc: %w", err)
	}
	prefixes, err := records.ParseCIDRs(req.GetCidrs())
	if err != nil {
		return nil, invalid("create vpc %s: %w", req.GetName(), err)
	}
	overlay := d.mesh.MeshPrefix()
	for _, p := range prefixes {
		if p.Overlaps(overlay) {
			return nil, invalid("create vpc %s: cidr %s: overlaps the mesh's own prefix %s", req.GetName(), p, overlay)
		}
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	s := d.snapshot()
	if v, there := s.vpcs[req.GetName()]; there {
		if !slices.Equal(v.prefixes, prefixes) {
			return nil, exists("create vpc %s: exists already with cidr %s", v.name, strings.Join(v.record.GetCidrs(), ","))
		}
		return v.api(), nil
	}
	vni, err := freeVNI(s)
	if err != nil {
		return nil, fmt.Errorf("create vpc %s: %w", req.GetName(), err)
	}
	record := &records.VPC{Vni: vni, CreatedMs: time.Now().UnixMilli()}
	for _, p := range prefixes {
		record.Cidrs = append(record.Cidrs, p.String())
	}
	if err := d.putRecord(ctx, mesh.KindVPC, req.GetName(), record); err != nil {
		return nil, fmt.Errorf("create vpc %s: %w", req.GetName(), err)
	}
	d.log.Info("VPC created", "vpc", req.GetName(), "vni", vni, "cidrs", record.GetCidrs())
	return d.GetVPC(req.GetName())
}

// freeVNI draws a VNI at random, so that two authorities that are cut off from
// each other hardly ever give the same one.
func freeVNI(s *snapshot) (uint32, error) {
	for range 1000 {
		var b [4]byte
		if _, err := rand.Read(b[:]); err != nil {
			return 0, fmt.Errorf("draw VNI: %w", err)
		}
		vni := binary.BigEndian.Uint32(b[:]) & records.MaxVNI
		if _, taken := s.byVNI[vni]; vni != 0 && !taken {
			return vni, nil
		}
	}
	return 0, errors.New("draw VNI: none free")
}

// ListVPCs returns every VPC, by name.
func (d *Daemon) ListVPCs() []*api.VPC {
	s := d.snapshot()
	out := make([]*api.VPC, 0, len(s.vpcs))
	for _, name := range slices.Sorted(maps.Keys(s.vpcs)) {
		out = append(out, s.vpcs[name].api())
	}
	return out
}

// GetVPC returns one VPC.
func (d *Daemon) GetVPC(name string) (*api.VPC, error) {
	v, ok := d.snapshot().vpcs[name]
	if !ok {
		return nil, notFound("vpc %q: not found", name)
	}
	return v.api(), nil
}

// DeleteVPC removes a VPC that has no endpoints, and its groups.
func (d *Daemon) DeleteVPC(ctx context.Context, name string) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	s := d.snapshot()
	v, ok := s.vpcs[name]
	if !ok {
		return notFound("vpc %q: not found", name)
	}
	if len(v.all) > 0 {
		e := v.all[0]
		return precondition("delete vpc %s: endpoint %s is attached to it on node %s; detach it first", name, e.name, s.nodes[e.node].Name)
	}
	for g := range v.groups {
		if err := d.mesh.Delete(ctx, mesh.KindGroup, records.GroupKey(v.vni(), g)); err != nil {
			return fmt.Errorf("delete vpc %s: delete group %s: %w", name, g, err)
		}
	}
	for _, kind := range []mesh.Kind{mesh.KindTests, mesh.KindShadow} {
		if err := d.mesh.Delete(ctx, kind, records.VPCKey(v.vni())); err != nil {
			return fmt.Errorf("delete vpc %s: delete %s: %w", name, kind, err)
		}
	}
	if err := d.deleteGrants(ctx, func(g *grant) bool { return g.vni == v.vni() }); err != nil {
		return fmt.Errorf("delete vpc %s: %w", name, err)
	}
	if err := d.mesh.Delete(ctx, mesh.KindVPC, name); err != nil {
		return fmt.Errorf("delete vpc %s: %w", name, err)
	}
	d.log.Info("VPC deleted", "vpc", name, "vni", v.vni())
	return nil
}

// putRecord stores one record of this node's.
func (d *Daemon) putRecord(ctx context.Context, kind mesh.Kind, key string, m proto.Message) error {
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode %s record: %w", kind, err)
	}
	_, err = d.mesh.Put(ctx, kind, key, payload)
	return err
}
