package isolation

import (
	"context"
	"fmt"

	"github.com/cilium/ebpf"
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
	counts := hitCounts{kernel: d.maps.Hits}
	all := make(map[Rule]Hits, len(numbers))
	for number, rule := range numbers {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("read hits: %w", err)
		}
		var known edgenetRule
		if err := d.maps.KnownRules.Lookup(number, &known); err != nil {
			return nil, fmt.Errorf("read hits: %w", err)
		}
		flows, err := counts.of(number)
		if err != nil {
			return nil, err
		}
		all[rule] = Hits{Flows: flows - known.Flows, ShadowAllows: known.ShadowAllows, ShadowDrops: known.ShadowDrops}
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

// hitCounts are the counts of new flows by number, each page as it was when it was
// first asked for.
type hitCounts struct {
	kernel *ebpf.Map
	pages  map[uint32]edgenetHitPage
}

// of is how often the rules that had a number have decided.
func (c *hitCounts) of(number uint32) (uint64, error) {
	size := uint32(len(edgenetHitPage{}.Flows))
	sum, ok := c.pages[number/size]
	if !ok {
		var perCPU []edgenetHitPage
		if err := c.kernel.Lookup(number/size, &perCPU); err != nil {
			return 0, fmt.Errorf("read hits: %w", err)
		}
		for _, page := range perCPU {
			for i, flows := range page.Flows {
				sum.Flows[i] += flows
			}
		}
		if c.pages == nil {
			c.pages = make(map[uint32]edgenetHitPage)
		}
		c.pages[number/size] = sum
	}
	return sum.Flows[number%size], nil
}
