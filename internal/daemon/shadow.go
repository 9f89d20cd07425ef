package daemon

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// shadow is the candidate of a VPC: other rules for some of its groups.
type shadow struct {
	vni    uint32
	record *records.Shadow
	// rules has all rules of each group that it is about.
	rules map[string][]policy.Rule
}

func decodeShadow(rec mesh.Record) (*shadow, error) {
	vni, err := records.SplitVPCKey(rec.Key)
	if err != nil {
		return nil, err
	}
	record, err := records.DecodeShadow(rec)
	if err != nil {
		return nil, err
	}
	groups, err := record.PolicyGroups()
	out := &shadow{vni: vni, record: record, rules: make(map[string][]policy.Rule, len(groups))}
	for _, g := range groups {
		out.rules[g.Name] = g.Rules
	}
	return out, err
}

// withShadow is a VPC that has a candidate.
func (s *snapshot) withShadow(vpcName string) (*vpc, error) {
	v, ok := s.vpcs[vpcName]
	switch {
	case !ok:
		return nil, notFound("vpc %q: not found", vpcName)
	case v.shadow == nil:
		return nil, notFound("vpc %s has no candidate rules", vpcName)
	}
	return v, nil
}

// ApplyShadow lets candidate rules count beside those in force.
func (d *Daemon) ApplyShadow(ctx context.Context, req *api.ApplyShadowRequest) (*api.ApplyShadowResponse, error) {
	wanted, err := parseGroupRules(req.GetGroups())
	if err != nil {
		return nil, fmt.Errorf("apply shadow: %w", err)
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	v, err := d.candidate(req.GetVpc(), wanted)
	if err != nil {
		return nil, fmt.Errorf("apply shadow: %w", err)
	}
	record := &records.Shadow{CreatedMs: time.Now().UnixMilli()}
	for _, g := range req.GetGroups() {
		one := &records.ShadowGroup{Name: g.GetName()}
		for _, r := range wanted[g.GetName()] {
			one.Rules = append(one.Rules, records.RuleText(r))
		}
		record.Groups = append(record.Groups, one)
	}
	if size := proto.Size(record); size > mesh.MaxPayload {
		return nil, precondition("apply shadow: the candidate has %d bytes; at most %d: leave out groups that do not change", size, mesh.MaxPayload)
	}
	if err := d.putRecord(ctx, mesh.KindShadow, records.VPCKey(v.vni()), record); err != nil {
		return nil, fmt.Errorf("apply shadow: %w", err)
	}
	d.log.Info("shadow applied", "vpc", v.name, "groups", wordsOf(wanted))
	return &api.ApplyShadowResponse{Created: timestamp(record.GetCreatedMs())}, nil
}

// PromoteShadow brings the candidate rules into force and ends the shadow.
func (d *Daemon) PromoteShadow(ctx context.Context, req *api.PromoteShadowRequest) ([]*api.Group, error) {
	v, err := d.snapshot().withShadow(req.GetVpc())
	if err != nil {
		return nil, fmt.Errorf("promote shadow: %w", err)
	}
	replace := &api.ReplaceGroupsRequest{Vpc: v.name, Force: req.GetForce()}
	for _, g := range v.shadow.record.GetGroups() {
		one := &api.GroupRules{Name: g.GetName()}
		for _, r := range v.shadow.rules[g.GetName()] {
			one.Rules = append(one.Rules, apiRule(r))
		}
		replace.Groups = append(replace.Groups, one)
	}
	groups, err := d.ReplaceGroups(ctx, replace)
	if err != nil {
		return nil, fmt.Errorf("promote shadow: %w", err)
	}
	// In force are the candidate rules now: what is left to count is nothing.
	if err := d.endShadow(context.WithoutCancel(ctx), v); err != nil {
		return nil, fmt.Errorf("promote shadow: the rules are in force, but: %w", err)
	}
	d.log.Info("shadow promoted", "vpc", v.name)
	return groups, nil
}

// DropShadow ends the shadow.
func (d *Daemon) DropShadow(ctx context.Context, vpcName string) error {
	v, err := d.snapshot().withShadow(vpcName)
	if err != nil {
		return fmt.Errorf("drop shadow: %w", err)
	}
	if err := d.endShadow(ctx, v); err != nil {
		return fmt.Errorf("drop shadow: %w", err)
	}
	d.log.Info("shadow dropped", "vpc", v.name)
	return nil
}

// endShadow removes a candidate, unless it is another one by now.
func (d *Daemon) endShadow(ctx context.Context, v *vpc) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	now, ok := d.snapshot().vpcs[v.name]
	if !ok || now.shadow == nil || !proto.Equal(now.shadow.record, v.shadow.record) {
		return nil
	}
	return d.mesh.Delete(ctx, mesh.KindShadow, records.VPCKey(v.vni()))
}
