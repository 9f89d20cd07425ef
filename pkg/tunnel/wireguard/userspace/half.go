package userspace

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
	wgtun "golang.zx2c4.com/wireguard/tun"
)

// What is read of an overlay packet (docs/datapath.md): an IPv6 header whose source
// has, behind the node's /64, a byte with the half and the kind.
const (
	headerLen   = 40
	protocolAt  = 6
	kindAt      = 8 + 8
	upperHalf   = 0x80
	ipv6Version = 6
)

// halved has packets say the half of their node's /64 that belongs to the key that
// they are encrypted by. The datapath says so, too, but before they wait in the TUN,
// and it hears of another key after the device has it. Here nothing comes between:
// the key changes while no packet is between the TUN and the key that it goes by.
type halved struct {
	wgtun.Device

	// passing is full from when packets were read until the next ones are asked for:
	// by then wireguard-go has settled what they go by.
	passing chan struct{}
	// reading is true while the one goroutine that reads has filled it.
	reading bool
	// known says that there is a key, upper which half is its.
	known, upper bool
	// closed is closed with the device.
	closed func()
	ended  <-chan struct{}
}

func newHalved(d wgtun.Device) *halved {
	ended := make(chan struct{})
	return &halved{
		Device: d, passing: make(chan struct{}, 1),
		ended: ended, closed: sync.OnceFunc(func() { close(ended) }),
	}
}

// Close implements tun.Device. Whoever reads must not wait for a key then, which may
// wait for the end of all reading.
func (h *halved) Close() error {
	h.closed()
	return h.Device.Close()
}

// change calls f, which is to give the device another key, while no packet is on its
// way, and has packets say its half from then on.
func (h *halved) change(upper bool, f func() error) error {
	select {
	case h.passing <- struct{}{}:
	case <-h.ended:
		return os.ErrClosed
	}
	defer func() { <-h.passing }()
	if err := f(); err != nil {
		return err
	}
	h.known, h.upper = true, upper
	return nil
}

// Read implements tun.Device.
func (h *halved) Read(packets [][]byte, sizes []int, offset int) (int, error) {
	if h.reading {
		h.reading = false
		<-h.passing
	}
	n, err := h.Device.Read(packets, sizes, offset)
	if err != nil && !errors.Is(err, wgtun.ErrTooManySegments) {
		return n, err // the last one
	}
	select {
	case h.passing <- struct{}{}:
		h.reading = true
	case <-h.ended:
		return 0, os.ErrClosed
	}
	if h.known {
		for i := range n {
			setHalf(packets[i][offset:offset+sizes[i]], h.upper)
		}
	}
	return n, err
}

// setHalf has a tenants' packet say a half. The node's own, of kind 0, has but one
// address, whichever half that is in.
func setHalf(packet []byte, upper bool) {
	if len(packet) < headerLen || packet[0]>>4 != ipv6Version {
		return
	}
	kind := packet[kindAt]
	if kind&^upperHalf == 0 || kind&upperHalf != 0 == upper {
		return
	}
	packet[kindAt] ^= upperHalf
	at := headerLen + checksumAt(packet[protocolAt])
	if at < headerLen || at+2 > len(packet) {
		return
	}
	sum := packet[at : at+2]
	before := binary.BigEndian.Uint16(sum)
	if before == 0 && packet[protocolAt] == unix.IPPROTO_UDP {
		return // there is none
	}
	// The bit is the first of a word of the sum, whose complement this is (RFC 1624).
	word := uint32(upperHalf) << 8
	if upper { // the word grows, the complement shrinks
		word = ^word & 0xffff
	}
	next := uint32(before) + word
	next = next&0xffff + next>>16
	if next == 0 && packet[protocolAt] == unix.IPPROTO_UDP {
		next = 0xffff
	}
	binary.BigEndian.PutUint16(sum, uint16(next))
}

// checksumAt is where a transport header has the checksum that goes over addresses,
// too; negative if it has none. These are the datapath's.
func checksumAt(protocol byte) int {
	switch protocol {
	case unix.IPPROTO_TCP:
		return 16
	case unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE, unix.IPPROTO_DCCP:
		return 6
	case unix.IPPROTO_ICMPV6:
		return 2
	}
	return -headerLen
}
