package isolation

import (
	"encoding/binary"
	"sync/atomic"
)

// UseHalf has this node's packets to others sent from one half of its /64, the lower
// or the upper one, from the next packet on. A new datapath has the lower one.
func (d *Datapath) UseHalf(upper bool) {
	atomic.StoreUint32(&d.tables.state.Half, halfWord(upper))
}

// halfWord is how the programs write a half: 0 or UPPER, in the network's byte
// order.
func halfWord(upper bool) uint32 {
	if !upper {
		return 0
	}
	return binary.NativeEndian.Uint32([]byte{upperBit, 0, 0, 0})
}
