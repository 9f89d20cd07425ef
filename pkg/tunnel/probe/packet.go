package probe

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// The echo messages of RFC 4443, section 4: type, code, checksum, identifier,
// sequence number, and data that the answer repeats.
const (
	typeEchoRequest = 128
	typeEchoReply   = 129
	headerLen       = 8
	nonceLen        = 16
	packetLen       = headerLen + nonceLen
)

// nonce is the data of a prober's requests. An answer without it was not asked
// for by this prober, whatever its identifier says.
type nonce [nonceLen]byte

// errForeign says that a packet is no answer to this prober.
var errForeign = errors.New("not an answer to this prober")

// request returns an echo request. The kernel fills in the checksum of ICMPv6
// (RFC 3542, section 3.1).
func request(id, seq uint16, n nonce) []byte {
	b := make([]byte, packetLen)
	b[0] = typeEchoRequest
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], seq)
	copy(b[headerLen:], n[:])
	return b
}

// parseReply returns the sequence number of an answer, or errForeign. The
// kernel has checked its checksum.
func parseReply(b []byte, id uint16, n nonce) (seq uint16, err error) {
	switch {
	case len(b) != packetLen,
		b[0] != typeEchoReply,
		b[1] != 0,
		binary.BigEndian.Uint16(b[4:]) != id,
		!bytes.Equal(b[headerLen:], n[:]):
		return 0, errForeign
	}
	return binary.BigEndian.Uint16(b[6:]), nil
}
