package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"edgenet.dev/edgenet/pkg/isolation"
)

// tally is what a candidate counts on this host. The kernel's counters begin
// with an endpoint, or with a rule, and live on over restarts; what they said when
// the candidate came is taken off.
type tally struct {
	// Created is that of the candidate, in milliseconds since 1970.
	Created int64
	// Rules and Endpoints are what had been counted before it, by group/rule and
	// by name.
	Rules     map[string]isolation.Hits
	Endpoints map[string]judged
}

// judged counts flows that a candidate judges otherwise.
type judged struct{ Allows, Drops uint64 }

func ruleKey(group, id string) string { return group + "/" + id }

// tallies are those of all VPCs of this host that have a candidate, by VNI.
type tallies struct {
	// dir keeps what had been counted before for as long as the kernel's counters
	// may live: until the next boot.
	dir     string
	byVNI   map[uint32]*tally
	samples samples
}

// follow begins to count for candidates that are new in s, before they are in
// force, and ends with those that are gone.
func (t *tallies) follow(ctx context.Context, s *snapshot, datapath Datapath) error {
	var errs []error
	for vni, v := range s.byVNI {
		if v.shadow == nil || len(v.local) == 0 {
			continue
		}
		if old := t.byVNI[vni]; old != nil && old.Created == v.shadow.record.GetCreatedMs() {
			continue
		}
		one, err := t.begin(ctx, v, datapath)
		if err != nil {
			errs = append(errs, fmt.Errorf("count for the candidate rules of vpc %s: %w", v.name, err))
			continue
		}
		if t.byVNI == nil {
			t.byVNI = map[uint32]*tally{}
		}
		t.byVNI[vni] = one
	}
	for vni := range t.byVNI {
		if v := s.byVNI[vni]; v == nil || v.shadow == nil || len(v.local) == 0 {
			delete(t.byVNI, vni)
			t.samples.forget(vni)
			errs = append(errs, remove(t.path(vni)))
		}
	}
	errs = append(errs, t.samples.follow(datapath, len(t.byVNI) > 0))
	return errors.Join(errs...)
}

// begin reads the counters, unless that was done before a restart.
func (t *tallies) begin(ctx context.Context, v *vpc, datapath Datapath) (*tally, error) {
	created := v.shadow.record.GetCreatedMs()
	if kept, err := t.load(v.vni()); err == nil && kept.Created == created {
		return kept, nil
	}
	one := &tally{Created: created, Rules: map[string]isolation.Hits{}, Endpoints: map[string]judged{}}
	hits, err := datapath.RuleHits(ctx, v.vni())
	if err != nil {
		return nil, err
	}
	for rule, hit := range hits {
		one.Rules[ruleKey(rule.Group, rule.ID)] = hit
	}
	status, err := datapath.Status(ctx)
	if err != nil {
		return nil, err
	}
	for key, st := range status {
		if key.VNI == v.vni() {
			one.Endpoints[key.Name] = judged{Allows: st.Counters.ShadowAllows, Drops: st.Counters.ShadowDrops}
		}
	}
	t.samples.forget(v.vni())
	return one, t.save(v.vni(), one)
}

func (t *tallies) path(vni uint32) string {
	return filepath.Join(t.dir, "shadow-"+strconv.FormatUint(uint64(vni), 10)+".json")
}

func (t *tallies) load(vni uint32) (*tally, error) {
	text, err := os.ReadFile(t.path(vni))
	if err != nil {
		return nil, err
	}
	one := &tally{}
	return one, json.Unmarshal(text, one)
}

// save leaves the old file or the new one, whatever happens.
func (t *tallies) save(vni uint32, one *tally) error {
	text, err := json.Marshal(one)
	if err != nil {
		return err
	}
	next := t.path(vni) + ".new"
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return err
	}
	return os.Rename(next, t.path(vni))
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// rule is what was counted of a rule after the candidate came. Counters that
// are lower than they were have begun anew.
func (t *tally) rule(group, id string, now isolation.Hits) isolation.Hits {
	before := t.Rules[ruleKey(group, id)]
	if now.Flows < before.Flows || now.ShadowAllows < before.ShadowAllows || now.ShadowDrops < before.ShadowDrops {
		return now
	}
	return isolation.Hits{
		Flows: now.Flows - before.Flows, ShadowAllows: now.ShadowAllows - before.ShadowAllows, ShadowDrops: now.ShadowDrops - before.ShadowDrops,
	}
}

// endpoint is rule for an endpoint.
func (t *tally) endpoint(name string, now isolation.Counters) judged {
	before := t.Endpoints[name]
	if now.ShadowAllows < before.Allows || now.ShadowDrops < before.Drops {
		before = judged{}
	}
	return judged{Allows: now.ShadowAllows - before.Allows, Drops: now.ShadowDrops - before.Drops}
}
