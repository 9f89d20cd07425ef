package ipsec

import (
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// steady is how far two readings of one time are apart at most: charon says ages in
// whole seconds, of times that it rounds down, too.
const steady = 3 * time.Second

// ages remember when SAs were made, so that what is computed from charon's ages is
// the same in each snapshot.
type ages map[tunnel.PublicKey]map[saID]time.Time

// saID is an IKE SA by its number in charon, or a child by its inbound SPI.
type saID struct {
	ike   bool
	value uint32
}

// settle puts remembered times in the place of those that were computed, and
// forgets the SAs that are gone.
func (a ages) settle(all map[tunnel.PublicKey][]ikeSA) {
	for key := range a {
		if len(all[key]) == 0 {
			delete(a, key)
		}
	}
	for key, sas := range all {
		before, now := a[key], make(map[saID]time.Time)
		keep := func(id saID, at *time.Time) {
			if known, ok := before[id]; ok && at.Sub(known).Abs() <= steady {
				*at = known
			}
			now[id] = *at
		}
		for i := range sas {
			sa := &sas[i]
			if !sa.established.IsZero() {
				keep(saID{ike: true, value: sa.id}, &sa.established)
			}
			for j := range sa.children {
				keep(saID{value: sa.children[j].spiIn}, &sa.children[j].installed)
			}
		}
		a[key] = now
	}
}
