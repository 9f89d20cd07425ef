package userspace

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"
	wgtun "golang.zx2c4.com/wireguard/tun"
)

// overlayPacket is a packet with a right checksum, if its protocol has one.
func overlayPacket(kind, protocol byte, payload []byte) []byte {
	p := make([]byte, headerLen+len(payload))
	p[0], p[protocolAt] = 0x60, protocol
	binary.BigEndian.PutUint16(p[4:], uint16(len(payload)))
	for i := 8; i < headerLen; i++ {
		p[i] = byte(rand.Uint32())
	}
	p[kindAt] = kind
	copy(p[headerLen:], payload)
	if at := headerLen + checksumAt(protocol); at >= headerLen {
		p[at], p[at+1] = 0, 0
		binary.BigEndian.PutUint16(p[at:], ^summed(p))
	}
	return p
}

// summed is the sum of all that a transport's checksum goes over: 0xffff, or 0, where
// it is right.
func summed(p []byte) uint16 {
	var sum uint32
	add := func(b []byte) {
		for i := 0; i < len(b); i += 2 {
			if i+1 == len(b) {
				sum += uint32(b[i]) << 8
			} else {
				sum += uint32(binary.BigEndian.Uint16(b[i:]))
			}
		}
	}
	add(p[8:])
	sum += uint32(len(p)-headerLen) + uint32(p[protocolAt])
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

func TestPacketsSayAHalfWithARightChecksum(t *testing.T) {
	for _, protocol := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE, unix.IPPROTO_DCCP, unix.IPPROTO_ICMPV6, unix.IPPROTO_ICMP, 4, 253} {
		for range 2000 {
			kind, upper := byte(1+rand.IntN(0x7f)), rand.IntN(2) == 0
			if rand.IntN(2) == 0 {
				kind |= upperHalf
			}
			payload := make([]byte, 20+rand.IntN(30))
			for i := range payload {
				payload[i] = byte(rand.Uint32())
			}
			p := overlayPacket(kind, protocol, payload)
			before := slices.Clone(p)
			setHalf(p, upper)
			if p[kindAt] != kind&^upperHalf|map[bool]byte{true: upperHalf}[upper] {
				t.Fatalf("kind %x says the upper half, want %t", p[kindAt], upper)
			}
			at := headerLen + checksumAt(protocol)
			if at < headerLen {
				before[kindAt] = p[kindAt]
			} else if s := summed(p); s != 0xffff && s != 0 {
				t.Fatalf("protocol %d: the checksum is off by %x: %x was %x", protocol, s, p, before)
			} else {
				before[kindAt], before[at], before[at+1] = p[kindAt], p[at], p[at+1]
			}
			if !bytes.Equal(p, before) {
				t.Fatalf("protocol %d: something else has changed", protocol)
			}
		}
	}
}

// What is nobody's who has two halves, or no whole packet, is left as it is.
func TestWhatHasNoHalfIsLeftAlone(t *testing.T) {
	udp := overlayPacket(0x01, unix.IPPROTO_UDP, make([]byte, 20))
	none := slices.Clone(udp)
	none[headerLen+6], none[headerLen+7] = 0, 0
	ipv4 := slices.Clone(udp)
	ipv4[0] = 0x45
	for name, p := range map[string][]byte{
		"the node's own": overlayPacket(0, unix.IPPROTO_UDP, make([]byte, 20)),
		"IPv4":           ipv4, "nothing": {}, "half a header": udp[:30],
	} {
		before := slices.Clone(p)
		setHalf(p, true)
		setHalf(p, false)
		if setHalf(p, true); !bytes.Equal(p, before) {
			t.Errorf("%s is changed", name)
		}
	}
	setHalf(none, true)
	if none[kindAt] != 0x81 || none[headerLen+6] != 0 || none[headerLen+7] != 0 {
		t.Error("UDP without a checksum has one")
	}
	cut := udp[:headerLen+7]
	setHalf(cut, true) // does not panic
}

// tap is a TUN whose packets a test makes.
type tap struct {
	wgtun.Device

	packets chan []byte
	closed  chan struct{}
}

func (d *tap) Read(packets [][]byte, sizes []int, offset int) (int, error) {
	select {
	case p := <-d.packets:
		sizes[0] = copy(packets[0][offset:], p)
		return 1, nil
	case <-d.closed:
		return 0, os.ErrClosed
	}
}

func (d *tap) Close() error { close(d.closed); return nil }

// read reads one packet, and returns its kind with the half.
func read(t *testing.T, h *halved) byte {
	t.Helper()
	const offset = 16
	packets, sizes := [][]byte{make([]byte, 256)}, make([]int, 1)
	if n, err := h.Read(packets, sizes, offset); n != 1 || err != nil {
		t.Fatalf("read %d, %v", n, err)
	}
	return packets[0][offset+kindAt]
}

// The key changes while no packet is between the TUN and its key: what was read
// before goes by the old one, what waits says the new one's half.
func TestAKeyChangesBetweenPackets(t *testing.T) { synctest.Test(t, changesBetweenPackets) }

func changesBetweenPackets(t *testing.T) {
	d := &tap{packets: make(chan []byte, 8), closed: make(chan struct{})}
	h := newHalved(d)
	for range 4 {
		d.packets <- overlayPacket(0x01, unix.IPPROTO_UDP, make([]byte, 20))
	}
	if got := read(t, h); got != 0x01 {
		t.Errorf("before there is a key a packet is changed to %x", got)
	}
	changed := make(chan error, 1)
	during := make(chan struct{})
	go func() { changed <- h.change(true, func() error { close(during); return nil }) }()
	synctest.Wait() // until it waits itself
	select {
	case <-during:
		t.Error("the key is changed while a packet is on its way")
	default:
	}
	// Asking for the next one says that the first has gone. Either may be first then.
	if got := read(t, h); got != 0x81 && got != 0x01 {
		t.Errorf("the next packet is %x", got)
	}
	if got := read(t, h); got != 0x81 {
		t.Errorf("what waited says %x, want the upper half", got)
	}
	if err := <-changed; err != nil {
		t.Fatal(err)
	}
	failed := errors.New("no")
	go func() { changed <- h.change(false, func() error { return failed }) }()
	if got := read(t, h); got != 0x81 {
		t.Errorf("after a change that was refused a packet says %x", got)
	}
	go func() {
		_, _ = h.Read([][]byte{make([]byte, 256)}, make([]int, 1), 0) // there is none: it waits
	}()
	if err := <-changed; !errors.Is(err, failed) {
		t.Errorf("the change ends with %v", err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}

// A device is closed while its key changes: neither waits for the other.
func TestAClosedDeviceWaitsForNoKey(t *testing.T) {
	d := &tap{packets: make(chan []byte, 1), closed: make(chan struct{})}
	h := newHalved(d)
	began, release, changed := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() { changed <- h.change(true, func() error { close(began); <-release; return nil }) }()
	<-began
	d.packets <- overlayPacket(0x01, unix.IPPROTO_UDP, make([]byte, 20))
	ended := make(chan error, 1)
	go func() {
		_, err := h.Read([][]byte{make([]byte, 256)}, make([]int, 1), 0)
		ended <- err
	}()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("who reads is told %v", err)
	}
	close(release)
	if err := <-changed; err != nil {
		t.Error(err)
	}
}
