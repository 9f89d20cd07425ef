package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// CreateGroup makes an empty group. The same again changes nothing.
func (d *Daemon) CreateGroup(ctx context.Context, name, vpcName string) (*api.Group, error) {
	if err := policy.ValidateName(name); err != nil {
		return nil, invalid("create group: %w", err)
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	v, ok := d.snapshot().vpcs[vpcName]
	if !ok {
		return nil, notFound("create group %s: vpc %q: not found", name, vpcName)
	}
	if g, there := v.groups[name]; there {
		return g.api(v), nil
	}
	if len(v.groups) >= records.MaxVPCGroups {
		return nil, precondition("create group %s: vpc %s has %d groups; at most %d", name, vpcName, len(v.groups), records.MaxVPCGroups)
	}
	record := &records.Group{CreatedMs: time.Now().UnixMilli()}
	if err := d.putRecord(ctx, mesh.KindGroup, records.GroupKey(v.vni(), name), record); err != nil {
		return nil, fmt.Errorf("create group %s: %w", name, err)
	}
	d.log.Info("group created", "vpc", vpcName, "group", name)
	return d.GetGroup(name, vpcName)
}

// ListGroups returns the groups of one VPC, or of all if vpcName is empty.
func (d *Daemon) ListGroups(vpcName string) ([]*api.Group, error) {
	s := d.snapshot()
	if _, ok := s.vpcs[vpcName]; !ok && vpcName != "" {
		return nil, notFound("vpc %q: not found", vpcName)
	}
	out := []*api.Group{}
	for _, name := range slices.Sorted(maps.Keys(s.vpcs)) {
		if vpcName != "" && name != vpcName {
			continue
		}
		v := s.vpcs[name]
		for _, g := range slices.Sorted(maps.Keys(v.groups)) {
			out = append(out, v.groups[g].api(v))
		}
	}
	return out, nil
}

// GetGroup returns one group.
func (d *Daemon) GetGroup(name, vpcName string) (*api.Group, error) {
	v, g, err := d.snapshot().group(name, vpcName)
	if err != nil {
		return nil, err
	}
	return g.api(v), nil
}

// DeleteGroup removes a group that nothing refers to.
func (d *Daemon) DeleteGroup(ctx context.Context, name, vpcName string) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	s := d.snapshot()
	v, _, err := s.group(name, vpcName)
	if err != nil {
		return err
	}
	if name == records.DefaultGroup {
		return precondition("delete group %s: it is there as long as vpc %s is; group replace can empty it", name, vpcName)
	}
	for _, other := range v.groups {
		for _, r := range other.rules {
			if other.name != name && r.Peer.Kind == policy.PeerGroup && r.Peer.Group == name {
				return precondition("delete group %s: rule %s of group %s names it; remove that first", name, r.ID(), other.name)
			}
		}
	}
	for _, e := range v.all {
		if slices.Contains(e.record.GetGroups(), name) {
			return precondition("delete group %s: endpoint %s on node %s carries it; detach it first", name, e.name, s.nodes[e.node].Name)
		}
	}
	if err := d.mesh.Delete(ctx, mesh.KindGroup, records.GroupKey(v.vni(), name)); err != nil {
		return fmt.Errorf("delete group %s: %w", name, err)
	}
	d.log.Info("group deleted", "vpc", vpcName, "group", name)
	return nil
}
