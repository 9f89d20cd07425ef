package isolation

import (
	"context"
	"fmt"
)

// Hits say how often a rule decided.
type Hits struct {
	// Flows that it decided about when they began. One that is dropped counts with
	// each packet that tries to begin it.
	Flows uint64
	// ShadowAllows and ShadowDrops are flows that the candidate rules judge
	// otherwise: they would let them pass, or drop them. Both rules that decide
	// count them, the one in force and the candidate's. A flow that runs counts
	// again after each change.
	ShadowAllows, ShadowDrops uint64
}

// RuleHits are those of the rules of a VPC that are in a table of this host, of
// those in force and of candidates. They began anew when the rule came to this
// host.
func (d *Datapath) RuleHits(ctx context.Context, vni uint32) (map[Rule]Hits, error) {
	d.flowsMu.Lock()
	defer d.flowsMu.Unlock()
	numbers, err := d.numbersOf(vni)
	if err != nil {
		return nil, fmt.Errorf("read hits: %w", err)
	}
	all := make(map[Rule]Hits, len(numbers))
	for number, rule := range numbers {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("read hits: %w", err)
		}
		var hit edgenetHit
		if err := d.maps.Hits.Lookup(number, &hit); err != nil {
			return nil, fmt.Errorf("read hits: %w", err)
		}
		all[rule] = Hits{Flows: hit.Live, ShadowAllows: hit.ShadowAllows, ShadowDrops: hit.ShadowDrops}
	}
	return all, nil
}

func (d *Datapath) numbersOf(vni uint32) (map[uint32]Rule, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tables == nil {
		return nil, errClosed
	}
	numbers := make(map[uint32]Rule)
	for number, rule := range d.tables.numbers.names {
		if rule.VNI == vni {
			numbers[number] = rule
		}
	}
	return numbers, nil
}
