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

	// ipv6HeaderLen is what is before a message, in bytes.
	ipv6HeaderLen = 40
	// codeSize is the code of a request for which the first packetLen bytes are
	// answer enough. Datapaths answer so (bpf/host.h); kernels, which do not look
	// at the code, repeat all of it.
	codeSize = 1
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

// sizeRequest returns an echo request that fills a packet of so many bytes, 0
// being the least. What it is filled with is zero, so that whoever cuts it off
// can tell the checksum without reading it.
func sizeRequest(id, seq uint16, n nonce, size int) []byte {
	b := make([]byte, packetSize(size)-ipv6HeaderLen)
	copy(b, request(id, seq, n))
	b[1] = codeSize
	return b
}

// parseSizeReply returns the sequence number of an answer to a sizeRequest, or
// errForeign. Of a long answer the first bytes will do.
func parseSizeReply(b []byte, id uint16, n nonce) (seq uint16, err error) {
	if len(b) < packetLen || b[1] != codeSize {
		return 0, errForeign
	}
	head := [packetLen]byte(b)
	head[1] = 0
	return parseReply(head[:], id, n)
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
