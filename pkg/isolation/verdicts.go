package isolation

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"

	"edgenet.dev/edgenet/pkg/policy"
)

// verdicts has the policies' tables in the kernel: (policy, identity, protocol)
// to a span of port intervals. Spans of equal content are shared.
type verdicts struct {
	spans    *mirror[edgenetVerdictKey, edgenetVerdict]
	store    *intervals
	policies map[policy.ID]map[edgenetVerdictKey]bool
	// whole are the policies that this process knows to be complete: one that
	// was being written when its process died may not be.
	whole map[policy.ID]bool
}

func openVerdicts(maps *edgenetMaps) (*verdicts, error) {
	spans, err := openMirror[edgenetVerdictKey, edgenetVerdict](edgenetMapVerdicts, maps.Verdicts, ebpf.UpdateLock)
	if err != nil {
		return nil, err
	}
	store, err := openIntervals(maps.Intervals, spans.have)
	if err != nil {
		return nil, err
	}
	v := &verdicts{
		spans: spans, store: store,
		policies: make(map[policy.ID]map[edgenetVerdictKey]bool), whole: make(map[policy.ID]bool),
	}
	for key := range spans.have {
		v.remember(key)
	}
	return v, nil
}

func (v *verdicts) remember(key edgenetVerdictKey) {
	id := policy.ID(key.Policy)
	if v.policies[id] == nil {
		v.policies[id] = make(map[edgenetVerdictKey]bool)
	}
	v.policies[id][key] = true
}

// put writes a policy that no packet is judged by yet. A policy that is there
// already is left alone: its name says what is in it.
func (v *verdicts) put(id policy.ID, table *policy.Table) error {
	if v.whole[id] {
		return nil
	}
	for match, permits := range table.Verdicts {
		key := edgenetVerdictKey{Policy: uint64(id), Identity: uint64(match.Identity), Protocol: match.Protocol}
		if err := v.putOne(key, permits); err != nil {
			return fmt.Errorf("write policy %016x: %w", uint64(id), err)
		}
	}
	v.whole[id] = true
	return nil
}

func (v *verdicts) putOne(key edgenetVerdictKey, permits []policy.Interval) error {
	if len(permits) == 0 {
		return nil
	}
	content := encode(permits)
	if have, ok := v.spans.have[key]; ok {
		if v.store.content[have.Spans[0]] == content {
			return nil
		}
		if err := v.delete(key); err != nil {
			return err
		}
	}
	span, err := v.store.add(content)
	if err != nil {
		return err
	}
	if err := v.spans.put(key, edgenetVerdict{Key: key, Spans: [2]edgenetSpan{span, span}}); err != nil {
		v.store.release(span)
		return err
	}
	v.remember(key)
	return nil
}

func (v *verdicts) delete(key edgenetVerdictKey) error {
	old, ok := v.spans.have[key]
	if !ok {
		return nil
	}
	if err := v.spans.delete(key); err != nil {
		return err
	}
	v.store.release(old.Spans[0])
	delete(v.policies[policy.ID(key.Policy)], key)
	return nil
}

// retain removes the policies that are not wanted. No packet may be judged by
// them any more.
func (v *verdicts) retain(want func(policy.ID) bool) error {
	for id, keys := range v.policies {
		if want(id) {
			continue
		}
		delete(v.whole, id)
		for key := range keys {
			if err := v.delete(key); err != nil {
				return err
			}
		}
		delete(v.policies, id)
	}
	return nil
}

const (
	// intervalSize is the size of struct interval.
	intervalSize = 8
	// ruleDenies marks the rule of an interval that denies: RULE_DENIES.
	ruleDenies = 1 << 31
)

// encode is intervals as they stand in the kernel.
func encode(permits []policy.Interval) string {
	b := make([]byte, 0, len(permits)*intervalSize)
	for _, p := range permits {
		b = binary.NativeEndian.AppendUint16(b, p.First)
		b = binary.NativeEndian.AppendUint16(b, p.Last)
		rule := p.Rule
		if p.Action == policy.Deny {
			rule |= ruleDenies
		}
		b = binary.NativeEndian.AppendUint32(b, rule)
	}
	return string(b)
}
