package tunnel

import "net/netip"

// halfBit is the first bit behind a node's /64: it says by which of two keys of a
// node a packet goes.
const halfBit = 8

// Upper says which half of its node's /64 packets have that go by a key, while the
// node changes keys: the lower or the upper one. It follows from the key, so that
// nobody has to be told.
func (k PublicKey) Upper() bool { return k[0]&1 != 0 }

// Follows tells whether a node may go over from a key to k: they need different
// halves.
func (k PublicKey) Follows(before PublicKey) bool { return k.Upper() != before.Upper() }

// Half is one half of a node's /64.
func Half(of netip.Prefix, upper bool) netip.Prefix {
	addr := of.Addr().As16()
	if upper {
		addr[halfBit] |= 0x80
	}
	return netip.PrefixFrom(netip.AddrFrom16(addr), of.Bits()+1)
}
