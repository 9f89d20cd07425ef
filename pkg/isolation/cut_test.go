package isolation

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// narrow lets the path to the other node take no more than that.
func (b *bench) narrow(mtu int) {
	b.t.Helper()
	b.state.Nodes[nodeB] = Node{Prefix: nodeB, Device: "lo", MTU: mtu}
	b.refill()
}

// listen returns a socket on lo, to which the other node's tunnel leads here.
func (b *bench) listen() int {
	b.t.Helper()
	const all = unix.ETH_P_ALL << 8 // in network order
	fd := in(b.space, func() (int, error) { return unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0) })
	b.t.Cleanup(func() {
		if err := unix.Close(fd); err != nil {
			b.t.Error(err)
		}
	})
	limit := unix.NsecToTimeval(int64(5 * time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		b.t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: 1}); err != nil {
		b.t.Fatal(err)
	}
	return fd
}

// hears returns the next fragment of a packet of the overlay's.
func hears(t *testing.T, fd int) []byte {
	t.Helper()
	buffer := make([]byte, 4096)
	for {
		n, from, err := unix.Recvfrom(fd, buffer, 0)
		if err != nil {
			t.Fatalf("no fragment was sent: %v", err)
		}
		if link, ok := from.(*unix.SockaddrLinklayer); !ok || link.Pkttype == unix.PACKET_OUTGOING {
			continue // It comes in again.
		}
		if n > 54 && bytes.Equal(buffer[38:46], nodeB.Addr().AsSlice()[:8]) && buffer[20] == 44 {
			return buffer[:n]
		}
	}
}

// cut runs a packet that is to be cut, in the namespace, since what the program
// itself sends goes there.
func (b *bench) cut(t *testing.T, socket int, frame []byte) (first, second []byte) {
	t.Helper()
	out := make([]byte, len(frame)+256)
	options := &ebpf.RunOptions{Data: frame, DataOut: out}
	verdict := in(b.space, func() (uint32, error) { return b.dp.fromEndpoint.Run(options) })
	if verdict != redirect {
		b.report()
		t.Fatalf("verdict %d, want a redirect", verdict)
	}
	return hears(t, socket), options.DataOut
}

// Hosts count on 1,280 bytes of IPv6. Over a path that takes less these go in two
// fragments, and together they are what would have gone.
func TestIPv6IsCutWhereAPathTakesLessThanItCountsOn(t *testing.T) {
	b := newDualBench(t)
	data := make([]byte, 4000)
	for i := range data {
		data[i] = byte(i * 7)
	}
	udp := func(size int) []byte {
		return ipv6Packet(webAddr6, farAddr6, 17, seal6(webAddr6, farAddr6, 17, udpDatagram(1, 53, string(data[:size-48]))))
	}
	tcp := ipv6Packet(webAddr6, farAddr6, 6, seal6(webAddr6, farAddr6, 6, tcpSegment(1, 80, flagACK, string(data[:1220]))))
	pieces := func(first, offset int, more bool) []byte {
		whole := udp(3000)[40:]
		return behind(ipv6Packet(webAddr6, farAddr6, 17, whole[offset:offset+first]), fragment6(uint16(offset), more, 0xabcdef))
	}
	socket := b.listen()
	for _, c := range []struct {
		name   string
		mtu    int
		packet []byte
		before int // headers before the payload, and where that begins in the whole
		offset uint16
		more   bool
	}{
		{"UDP", 1216, udp(1280), 40, 0, false},
		{"UDP by a byte", 1216, udp(1217), 40, 0, false},
		{"UDP by a byte over IPv6", 1200, udp(1201), 40, 0, false},
		{"TCP", 1216, tcp, 40, 0, false},
		{"a first fragment", 1216, pieces(1232, 0, true), 48, 0, true},
		{"a fragment in the middle", 1200, pieces(1232, 1232, true), 48, 1232, true},
		{"a last fragment", 1200, pieces(1229, 1232, false), 48, 1232, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.narrow(1420)
			want := b.redirect(t, b.dp.fromEndpoint, frame6(c.packet))
			b.narrow(c.mtu)
			first, second := b.cut(t, socket, frame6(c.packet))
			if len(first)-14 > c.mtu || len(first)-14 <= c.mtu-8 || len(second)-14 > c.mtu {
				t.Errorf("cut into %d and %d bytes for %d", len(first)-14, len(second)-14, c.mtu)
			}
			if !bytes.Equal(append(bytes.Clone(first[62:]), second[62:]...), want[14+c.before:]) {
				t.Errorf("together it is\n%x%x, want\n%x", first[62:], second[62:], want[14+c.before:])
			}
			if !bytes.Equal(first[58:62], second[58:62]) || first[54] != second[54] {
				t.Errorf("fragments of different packets: %x, %x", first[54:62], second[54:62])
			}
			rest := c.offset + uint16(len(first)-62)
			checkFragment(t, first, second, c.offset|1)
			checkFragment(t, second, second, rest|uint16(bit(c.more)))
		})
	}
	b.narrow(1216)
	if got := b.refused(t, frame6(udp(1281)), 0, "packet-too-big"); !bytes.Equal(got, error6(udp(1281), 2, 1280)) {
		t.Errorf("of 1281 bytes: %x", got)
	}
	// Nobody cuts what stands for many datagrams.
	b.refused(t, frame6(udp(3000)), 1232, "packet-too-big")
	b.redirect(t, b.dp.fromEndpoint, frame6(udp(1216)))
}

// checkFragment looks at the headers of a fragment, whose addresses the other has,
// too.
func checkFragment(t *testing.T, p, other []byte, offset uint16) {
	t.Helper()
	if got := binary.BigEndian.Uint16(p[56:]); got != offset {
		t.Errorf("offset and more are %#x, want %#x", got, offset)
	}
	if length := int(binary.BigEndian.Uint16(p[18:])); length != len(p)-54 || p[20] != 44 {
		t.Errorf("length %d, next header %d of %d bytes", length, p[20], len(p))
	}
	if !bytes.Equal(p[22:54], other[22:54]) || p[21] != 60 {
		t.Errorf("addresses %x and hops %d", p[22:54], p[21])
	}
}

func bit(set bool) int {
	if set {
		return 1
	}
	return 0
}
