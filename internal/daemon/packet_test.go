package daemon

import (
	"testing"

	"google.golang.org/protobuf/proto"

	api "edgenet.dev/edgenet/api/edgenet/v1"
)

// A packet comes from another node: whatever it is, it is refused, or is the same
// on its way back.
func FuzzParsePacket(f *testing.F) {
	f.Add("10.0.0.5", "10.0.0.6", "tcp", uint32(49152), uint32(80), "")
	f.Add("fd00::5", "fd00::6", "icmpv6", uint32(0), uint32(0), "128/0")
	f.Add("10.0.0.5", "::ffff:10.0.0.6", "256", uint32(1<<16), uint32(1<<31), "8")
	f.Fuzz(func(t *testing.T, source, destination, protocol string, sourcePort, port uint32, icmp string) {
		p, err := parsePacket(&api.TracedPacket{
			Source: source, Destination: destination, Protocol: protocol, SourcePort: sourcePort, Port: port, Icmp: icmp,
		})
		if err != nil {
			return
		}
		again, err := parsePacket(p.api())
		if err != nil || !proto.Equal(again.api(), p.api()) {
			t.Errorf("%v comes back as %v, %v", p, again, err)
		}
	})
}
