package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"edgenet.dev/edgenet/bench/progrun"
	"edgenet.dev/edgenet/pkg/policy"
)

// probe measures what a packet costs at a site, in nanoseconds: out of the
// container and in from the tunnel together, less what measuring costs.
type probe struct {
	site  *site
	empty *progrun.Program
	// doors and open are by direction: the doors that flows are made through,
	// and a packet of each connection that is established.
	doors [2][]door
	open  [2][]sitePacket
	// used is the last source port of a caller.
	used   uint16
	random *rand.Rand
}

// firstSource is the first source port that callers use.
const firstSource = 1024

const (
	// unheeded packets begin a block: they find the processor's caches as others
	// left them.
	unheeded = 256
	// heeded packets of each block are what counts.
	heeded = 512
	// blocks are how many a sample is taken of.
	blocks = 4
)

// directions are those in which flows begin.
var directions = [2]policy.Direction{policy.Egress, policy.Ingress}

// newProbe makes a site with that many connections each way, evenly to its remote
// hosts.
func newProbe(ctx context.Context, load *workload, flows int) (*probe, error) {
	made, err := newSite(ctx, load)
	if err != nil {
		return nil, fmt.Errorf("make a site: %w", err)
	}
	p := &probe{site: made, used: firstSource - 1, random: rand.New(rand.NewPCG(2, 2))}
	for i, direction := range directions {
		p.doors[i] = load.doors(direction, policy.ProtocolTCP, flows)
	}
	if p.empty, err = progrun.Empty(); err == nil {
		err = made.within(p.establish)
	}
	if err != nil {
		return p, fmt.Errorf("prepare a site of %d rules and %d hosts: %w", load.rules, len(load.remote), err)
	}
	return p, nil
}

func (p *probe) establish() error {
	for i := range p.doors {
		for _, through := range p.doors[i] {
			flow := p.flow(i, through)
			if err := p.site.establish(flow); err != nil {
				return err
			}
			p.open[i] = append(p.open[i], p.site.data(flow))
		}
	}
	return nil
}

// flow is one that there never was: its source port is new.
func (p *probe) flow(direction int, through door) siteFlow {
	p.used++
	if p.used < firstSource {
		p.used = firstSource
	}
	return siteFlow{direction: directions[direction], door: through, source: p.used}
}

func (p *probe) close(ctx context.Context) error {
	err := p.site.close(ctx)
	if p.empty != nil {
		err = errors.Join(err, p.empty.Close())
	}
	return err
}

// packets are those of one block: of open connections or opening new ones, in
// random order or, if hot, the same or through the same door each time.
func (p *probe) packets(kind, direction int) []sitePacket {
	packets := make([]sitePacket, unheeded+heeded)
	for i := range packets {
		pick := 0
		if kind == established || kind == newFlow {
			pick = p.random.IntN(len(p.open[direction]))
		}
		if kind == established || kind == establishedHot {
			packets[i] = p.open[direction][pick]
		} else {
			packets[i] = p.site.syn(p.flow(direction, p.doors[direction][pick]))
		}
	}
	return packets
}

// times is how long each packet of some kind took, in nanoseconds, and how long
// nothing took, by direction.
type times [len(directions)]struct{ packet, nothing []float64 }

// block runs a block of packets each way and adds their times.
func (p *probe) block(kind int, to *times) error {
	return p.site.within(func() error {
		for direction := range directions {
			packets := p.packets(kind, direction)
			for i, packet := range packets {
				took, err := packet.pass()
				if err != nil {
					return err
				}
				if i >= unheeded {
					to[direction].packet = append(to[direction].packet, took)
				}
			}
			for i := range unheeded {
				_, took, err := p.empty.Run(packets[i].bytes, 1)
				if err != nil {
					return err
				}
				to[direction].nothing = append(to[direction].nothing, float64(took.Nanoseconds()))
			}
		}
		return nil
	})
}

// cost is that of a packet's whole way: out of the container, and in from the
// tunnel.
func (t *times) cost() float64 {
	sum := 0.0
	for _, one := range t {
		sum += median(one.packet) - median(one.nothing)
	}
	return sum
}
