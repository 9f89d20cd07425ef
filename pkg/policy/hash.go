package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// digest hashes a sequence of values so that no two different sequences are the
// same bytes: numbers have a fixed width, strings carry their length.
type digest struct{ h hash.Hash }

// newDigest separates what it is used for by domain.
func newDigest(domain string) digest {
	d := digest{h: sha256.New()}
	d.text("edgenet " + domain)
	return d
}

func (d digest) number(n uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	d.h.Write(b[:])
}

func (d digest) text(s string) {
	d.number(uint64(len(s)))
	d.h.Write([]byte(s))
}

// sum64 is never 0, which means "none" to those who use it.
func (d digest) sum64() uint64 {
	if n := binary.BigEndian.Uint64(d.h.Sum(nil)); n != 0 {
		return n
	}
	return 1
}
