package ipsec

import (
	"github.com/vishvananda/netlink"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// traffic remembers the counts of child SAs that are gone, so that a peer's go on
// when its keys are replaced. What passes between the last look at a child SA and
// its end is not counted.
type traffic map[tunnel.PublicKey]passed

// passed are the counts of a peer's child SAs, by their inbound SPIs.
type passed map[uint32]counts

// counts are those of one child SA: bytes, and packets that were dropped.
type counts struct{ rx, tx, replayed, forged uint64 }

func (c *counts) add(more counts) {
	c.rx += more.rx
	c.tx += more.tx
	c.replayed += more.replayed
	c.forged += more.forged
}

// gone is the key of the sum of those that are gone; 0 is no SPI (RFC 4303,
// section 2.1).
const gone = 0

func (t traffic) sum(key tunnel.PublicKey, sas []ikeSA) counts {
	before, now := t[key], make(passed)
	for _, sa := range sas {
		for _, c := range sa.children {
			if c.spiIn != gone {
				now[c.spiIn] = counts{c.rx, c.tx, c.replayed, c.forged}
			}
		}
	}
	var total counts
	for spi, c := range before {
		if _, there := now[spi]; !there {
			total.add(c)
		}
	}
	now[gone] = total
	t[key] = now
	return now.total()
}

// lacks tells whether there is a child SA that was not there when the sum was made:
// charon's ages are too coarse to tell.
func (p passed) lacks(sas []ikeSA) bool {
	for _, sa := range sas {
		for _, c := range sa.children {
			if _, known := p[c.spiIn]; !known {
				return true
			}
		}
	}
	return false
}

func (p passed) total() counts {
	var sum counts
	for _, c := range p {
		sum.add(c)
	}
	return sum
}

// count adds to charon's SAs what the kernel has dropped of them: packets that it
// had before, or that are older than the window, and those that are not authentic.
func (s *snapshot) count(states []netlink.XfrmState) {
	bySPI := make(map[uint32]netlink.XfrmStateStats, len(states))
	for _, st := range states {
		bySPI[uint32(st.Spi)] = st.Statistics
	}
	for _, sas := range s.sas {
		for i := range sas {
			for j := range sas[i].children {
				c := &sas[i].children[j]
				in := bySPI[c.spiIn]
				c.replayed, c.forged = uint64(in.Replay)+uint64(in.ReplayWindow), uint64(in.Failed)
			}
		}
	}
}
