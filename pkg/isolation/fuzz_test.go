package isolation

import (
	"bytes"
	"testing"
)

// canRun says whether BPF_PROG_TEST_RUN takes a packet at all.
func canRun(packet []byte) bool {
	return len(packet) >= 14+41 && len(packet) <= 1514
}

// Whatever web sends: what leaves is web's, and goes to its own VPC.
func FuzzFromEndpoint(f *testing.F) {
	b := newBench(f)
	f.Add(tcp4(dbAddr, 40000, 80, flagSYN))
	f.Add(tcp4(farAddr, 40000, 80, flagACK))
	f.Add(udp4(farAddr, 40000, 53))
	f.Add(echo4(farAddr, 8, 1))
	f.Add(append(arpFrame(1, webMAC, webMAC, webAddr, gateway), make([]byte, 18)...))
	f.Add(frame4(withOptions(webAddr, farAddr)))
	f.Add(frame4(ipv4Packet(webAddr, farAddr, 1, icmpMessage(3, 3, 0, ipv4Packet(farAddr, webAddr, 17, udpDatagram(1, 2, ""))))))
	f.Fuzz(func(t *testing.T, packet []byte) {
		if !canRun(packet) {
			return
		}
		// Blind changes would not get past the checksum.
		if n := int(packet[14]&15) * 4; packet[12] == 8 && packet[13] == 0 && n >= 20 && 14+n <= len(packet) {
			resum(packet[14:])
		}
		verdict, out := run(t, b.dp.fromEndpoint, packet, 0)
		if verdict == shot {
			return
		}
		if verdict != redirect {
			t.Fatalf("verdict %d", verdict)
		}
		switch {
		case bytes.Equal(out[12:14], []byte{0x08, 0x06}):
			if !bytes.Equal(out[:6], webMAC) || !bytes.Equal(out[6:12], gatewayMAC) || (!bytes.Equal(out[38:42], webAddr.AsSlice()) && !bytes.Equal(out[38:42], make([]byte, 4))) {
				t.Fatalf("ARP answer %x", out)
			}
		case bytes.Equal(out[12:14], []byte{0x08, 0x00}):
			answer := bytes.Equal(out[:6], webMAC) && bytes.Equal(out[26:34], append(gateway.AsSlice(), webAddr.AsSlice()...)) && out[23] == 1
			local := bytes.Equal(out[:6], dbMAC) && bytes.Equal(out[26:34], append(webAddr.AsSlice(), dbAddr.AsSlice()...))
			if !answer && !local {
				t.Fatalf("delivered %x", out)
			}
		default:
			kind := out[46]
			src, dst := overlayAddr(nodeA, kind, testVNI, webAddr), overlayAddr(nodeB, kind, testVNI, farAddr)
			if kind >= 0x10 && kind <= 0x1a {
				copy(src[9:12], out[31:34]) // what IPv6 has no place for
			} else if kind != 1 {
				t.Fatalf("forwarded as kind %d", kind)
			}
			if !bytes.Equal(out[22:54], append(src, dst...)) {
				t.Fatalf("forwarded %x", out)
			}
			if int(out[18])<<8|int(out[19]) != len(out)-54 {
				t.Fatalf("length of %x", out)
			}
		}
	})
}

// Whatever a tunnel brings: what is delivered is for this node, from the owner
// of its source, and of one VPC.
func FuzzFromTunnel(f *testing.F) {
	b := newBench(f)
	f.Add(fromFar(6, tcpSegment(40000, 80, flagSYN, "hi")))
	f.Add(fromFar(17, udpDatagram(40000, 80, "hi")))
	f.Add(fromFar(1, icmpMessage(8, 0, 1, []byte("hi"))))
	f.Add(fromFar(1, icmpMessage(3, 3, 0, ipv4Packet(webAddr, farAddr, 17, udpDatagram(1, 2, "")))))
	f.Add(overlay(overlayAddr(nodeB, 1, otherVNI, farAddr), overlayAddr(nodeA, 1, otherVNI, dbAddr), 6, tcpSegment(1, 80, flagSYN, "")))
	far := overlayAddr(nodeB, 1, testVNI, farAddr)
	owner := map[string]bool{
		string(append(bytes.Clone(far), overlayAddr(nodeA, 1, testVNI, webAddr)...)): true,
		string(append(bytes.Clone(far), overlayAddr(nodeA, 1, testVNI, dbAddr)...)):  true,
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		if !canRun(packet) {
			return
		}
		verdict, out := run(t, b.dp.fromTunnel, packet, 0)
		switch verdict {
		case shot:
		case pass:
			if packet[20] != 58 || !bytes.Equal(packet[38:46], overlayAddr(nodeA, 0, 0, webAddr)[:8]) {
				t.Fatalf("passed to the host: %x", packet)
			}
		case redirect:
			// The VPC of tenant 200 knows a far address of its own.
			if !owner[string(packet[22:54])] && !bytes.Equal(packet[31:34], []byte{0, 0, otherVNI}) {
				t.Fatalf("delivered %x", packet)
			}
			if !bytes.Equal(packet[30:34], packet[46:50]) || !bytes.Equal(out[26:30], packet[34:38]) || !bytes.Equal(out[30:34], packet[50:54]) {
				t.Fatalf("delivered %x as %x", packet, out)
			}
		default:
			t.Fatalf("verdict %d", verdict)
		}
	})
}
