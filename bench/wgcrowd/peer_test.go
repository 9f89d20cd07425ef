package wgcrowd

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
)

// What peers ask is an echo request with the checksum that others compute for it.
func TestRequestsAreWellFormed(t *testing.T) {
	from, to := netip.MustParseAddr("fc00:0:0:2::1"), netip.MustParseAddr("fc00:0:0:1::1")
	for _, size := range []int{0, 48, 49, 1400} {
		packet := echoRequest(from, to, size)
		if len(packet) != max(size, 48) {
			t.Errorf("asked for %d bytes, got %d", size, len(packet))
		}
		message := &icmp.Message{Type: ipv6.ICMPTypeEchoRequest, Body: &icmp.Echo{Data: packet[48:]}}
		want, err := message.Marshal(icmp.IPv6PseudoHeader(from.AsSlice(), to.AsSlice()))
		if err != nil {
			t.Fatal(err)
		}
		if got := packet[headerSize:]; string(got) != string(want) {
			t.Errorf("of %d bytes the checksum is %#x, want %#x", size, binary.BigEndian.Uint16(got[2:]), binary.BigEndian.Uint16(want[2:]))
		}
		if isEchoReply(packet) {
			t.Error("a request is taken for an answer")
		}
	}
}
