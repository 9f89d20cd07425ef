package ipsec

import "edgenet.dev/edgenet/pkg/tunnel"

// traffic remembers the bytes of child SAs that are gone, so that a peer's count
// goes on when its keys are replaced. What passes between the last look at a
// child SA and its end is not counted.
type traffic map[tunnel.PublicKey]map[uint32]bytesOf

// bytesOf are the bytes of one child SA, by its inbound SPI.
type bytesOf struct{ rx, tx uint64 }

// gone is the key of the sum of those that are gone; 0 is no SPI (RFC 4303,
// section 2.1).
const gone = 0

func (t traffic) sum(key tunnel.PublicKey, sas []ikeSA) (rx, tx uint64) {
	before, now := t[key], make(map[uint32]bytesOf)
	for _, sa := range sas {
		for _, c := range sa.children {
			if c.spiIn != gone {
				now[c.spiIn] = bytesOf{c.rx, c.tx}
			}
		}
	}
	var total bytesOf
	for spi, b := range before {
		if _, there := now[spi]; !there {
			total.rx += b.rx
			total.tx += b.tx
		}
	}
	now[gone] = total
	t[key] = now
	for _, b := range now {
		rx += b.rx
		tx += b.tx
	}
	return rx, tx
}
