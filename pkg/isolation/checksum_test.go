package isolation

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Flags and kinds of a virtio_net_hdr (linux/virtio_net.h).
const (
	vnetNeedsChecksum = 1
	vnetTCP4          = 1
)

// unfinished is the virtio_net_hdr of a frame whose checksum the host shall work
// out: from start on, to be written at place, both from the frame's beginning.
func unfinished(start, place int) []byte {
	header := make([]byte, vnetHeader)
	header[0] = vnetNeedsChecksum
	binary.NativeEndian.PutUint16(header[6:], uint16(start))
	binary.NativeEndian.PutUint16(header[8:], uint16(place-start))
	return header
}

// large makes it that of a TCP packet which stands for many.
func large(header []byte) []byte {
	header[1] = vnetTCP4
	binary.NativeEndian.PutUint16(header[2:], 54)
	binary.NativeEndian.PutUint16(header[4:], 1000)
	return header
}

// placed is a packet whose checksum shall be written somewhere.
type placed struct {
	frame        []byte
	start, place int
	large        bool
	after        []byte // goes before
}

// Frames of web's to db.
var (
	tcpToDB     = tcp4(dbAddr, 40000, 80, flagSYN)
	udpToDB     = udp4(dbAddr, 40000, 53)
	pingToDB    = echo4(dbAddr, 8, 1)
	errorToDB   = frame4(ipv4Packet(webAddr, dbAddr, 1, icmpMessage(3, 3, 0, ipv4Packet(dbAddr, webAddr, 17, udpDatagram(1, 2, "hello")))))
	sctpToDB    = frame4(ipv4Packet(webAddr, dbAddr, 132, make([]byte, 20)))
	greToDB     = frame4(ipv4Packet(webAddr, dbAddr, 47, make([]byte, 20)))
	tcpToDB6    = frame6(syn6(webAddr6, dbAddr6, 40000, 80))
	udpToDB6    = frame6(udp6(webAddr6, dbAddr6, 40000, 53))
	pingToDB6   = frame6(echo6(webAddr6, dbAddr6, 128, 1))
	behindToDB6 = frame6(behind(syn6(webAddr6, dbAddr6, 40000, 80), destination))
	vxlanToDB   = frame4(ipv4Packet(webAddr, dbAddr, 17, udpDatagram(40000, 4789, string(make([]byte, 8))+string(tcpToDB))))
	firstToDB   = withHeader(frame4(ipv4Packet(webAddr, dbAddr, 17, udpDatagram(40000, 53, "hello, hello, hello, you"))), func(h []byte) { h[6] = 0x20 })
	laterToDB   = withHeader(frame4(ipv4Packet(webAddr, dbAddr, 17, make([]byte, 40))), func(h []byte) { h[6], h[7] = 0, 4 })
	largeToDB   = tcpOf(2000, dbAddr)
)

var wellPlaced = map[string]placed{
	"TCP":                             {frame: tcpToDB, start: 34, place: 50},
	"TCP of many":                     {frame: largeToDB, start: 34, place: 50, large: true},
	"UDP":                             {frame: udpToDB, start: 34, place: 40},
	"ICMP":                            {frame: pingToDB, start: 34, place: 36},
	"an ICMP error":                   {frame: errorToDB, start: 34, place: 36},
	"SCTP":                            {frame: sctpToDB, start: 34, place: 42},
	"TCP over IPv6":                   {frame: tcpToDB6, start: 54, place: 70},
	"UDP over IPv6":                   {frame: udpToDB6, start: 54, place: 60},
	"ICMPv6":                          {frame: pingToDB6, start: 54, place: 56},
	"TCP behind an extension header":  {frame: behindToDB6, start: 62, place: 78},
	"TCP in VXLAN":                    {frame: vxlanToDB, start: 84, place: 100},
	"what is in another protocol":     {frame: greToDB, start: 38, place: 50},
	"at the end of a packet":          {frame: udpToDB, start: 34, place: len(udpToDB) - 2},
	"right behind a UDP header":       {frame: udpToDB, start: 34, place: 42},
	"right behind an ICMP header":     {frame: pingToDB, start: 34, place: 42},
	"in another protocol's beginning": {frame: greToDB, start: 34, place: 34},
}

var badlyPlaced = map[string]placed{
	"TCP's source port":                  {frame: tcpToDB, start: 34, place: 34},
	"TCP's destination port":             {frame: tcpToDB, start: 34, place: 36},
	"half of TCP's destination port":     {frame: tcpToDB, start: 34, place: 37},
	"TCP's sequence number":              {frame: tcpToDB, start: 34, place: 38},
	"TCP's flags":                        {frame: tcpToDB, start: 34, place: 46},
	"TCP's flags, of many":               {frame: largeToDB, start: 34, place: 46, large: true},
	"TCP's port, of many":                {frame: largeToDB, start: 34, place: 36, large: true},
	"TCP's checksum and window":          {frame: tcpToDB, start: 34, place: 49},
	"UDP's destination port":             {frame: udpToDB, start: 34, place: 36},
	"UDP's length":                       {frame: udpToDB, start: 34, place: 38},
	"half of UDP's checksum":             {frame: udpToDB, start: 34, place: 41},
	"ICMP's type":                        {frame: pingToDB, start: 34, place: 34},
	"ICMP's identifier":                  {frame: pingToDB, start: 34, place: 38},
	"what an ICMP error quotes":          {frame: errorToDB, start: 34, place: 62},
	"what an ICMP error quotes from":     {frame: errorToDB, start: 42, place: 54},
	"SCTP's destination port":            {frame: sctpToDB, start: 34, place: 36},
	"half of SCTP's checksum":            {frame: sctpToDB, start: 34, place: 45},
	"the source address":                 {frame: tcpToDB, start: 14, place: 26},
	"the destination address":            {frame: tcpToDB, start: 14, place: 30},
	"IPv6's destination address":         {frame: tcpToDB6, start: 14, place: 38},
	"IPv6's next header":                 {frame: udpToDB6, start: 14, place: 20},
	"TCP's port over IPv6":               {frame: tcpToDB6, start: 54, place: 56},
	"ICMPv6's type":                      {frame: pingToDB6, start: 54, place: 54},
	"an extension header":                {frame: behindToDB6, start: 54, place: 54},
	"a port behind an extension header":  {frame: behindToDB6, start: 62, place: 64},
	"its place, summed from the address": {frame: tcpToDB, start: 26, place: 50},
	"VXLAN's destination port":           {frame: vxlanToDB, start: 34, place: 36},
	"a first fragment's checksum":        {frame: firstToDB, start: 34, place: 40},
	"a later fragment's payload":         {frame: laterToDB, start: 34, place: 44, after: firstToDB},
	"what pads a frame":                  {frame: append(append([]byte{}, udpToDB...), make([]byte, 20)...), start: 34, place: len(udpToDB)},
	"a packet's last byte and padding":   {frame: append(append([]byte{}, udpToDB...), make([]byte, 20)...), start: 34, place: len(udpToDB) - 1},
}

// ofLink are summed from the link header on. Some kernels take the mark away with
// that header, so that nothing is written.
var ofLink = map[string]placed{
	"a MAC":                     {frame: udp4(dbAddr, 40001, 53), start: 0, place: 6},
	"the protocol of the frame": {frame: udp4(dbAddr, 40002, 53), start: 12, place: 12},
	"the destination address":   {frame: udp4(dbAddr, 40003, 53), start: 0, place: 32},
	"the destination port":      {frame: udp4(dbAddr, 40004, 53), start: 10, place: 36},
}

// A sender says where in its frame the host shall write the checksum. What the
// rules were asked about may not be rewritten that way behind their back.
func TestAChecksumIsWrittenWhereItBelongs(t *testing.T) {
	for name, start := range map[string]func(testing.TB, Config) *wire{"guest": newGuestWire, "packet socket": newSocketWire} {
		t.Run(name, func(t *testing.T) {
			w := start(t, Config{})
			for name, c := range wellPlaced {
				t.Run(name, func(t *testing.T) { w.has(t, c, arrives) })
			}
			for name, c := range badlyPlaced {
				t.Run(name, func(t *testing.T) {
					for _, frame := range [][]byte{c.after, c.frame} {
						if len(frame) > 0 && !c.large {
							w.fate(t, func() error { return w.send(make([]byte, vnetHeader), frame) }, arrives)
						}
					}
					w.has(t, c, "malformed")
				})
			}
			for name, c := range ofLink {
				t.Run(name, func(t *testing.T) {
					if w.has(t, c, arrives, "malformed") == arrives {
						w.hasHeard(t, binary.BigEndian.Uint16(c.frame[34:]))
					}
				})
			}
		})
	}
}

// wire is what web sends frames on, as a guest or a packet socket does, to db on
// the same host.
type wire struct {
	*host
	send func(header, frame []byte) error
	db   net.PacketConn
}

const arrives = "arrives"

var errRefused = errors.New("refused by this kernel")

// has sends a packet with a checksum to be written, and returns what became of it.
// What is badly placed may be refused by the kernel itself.
func (w *wire) has(t *testing.T, c placed, want ...string) string {
	t.Helper()
	header := unfinished(c.start, c.place)
	if c.large {
		header = large(header)
	}
	return w.fate(t, func() error {
		err := w.send(header, c.frame)
		if errors.Is(err, unix.EINVAL) && slices.Contains(want, "malformed") {
			return errRefused
		}
		return err
	}, want...)
}

// fate sends one packet of web's to db: it arrives, or is dropped for a reason.
func (w *wire) fate(t *testing.T, send func() error, want ...string) (got string) {
	t.Helper()
	arrived, dropped := w.status(dbKey).Counters.RxPackets, w.status(webKey).Counters.Drops
	err := send()
	if errors.Is(err, errRefused) {
		t.Log(err)
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if got = w.fateSince(arrived, dropped); got == "" {
			return errors.New("neither arrived nor dropped")
		}
		return nil
	})
	if !slices.Contains(want, got) {
		t.Fatalf("%s, want %v", got, want)
	}
	return got
}

// fateSince says what became of web's last packet, by the counters before it.
func (w *wire) fateSince(arrived uint64, dropped map[string]uint64) string {
	w.t.Helper()
	if w.status(dbKey).Counters.RxPackets > arrived {
		return arrives
	}
	for reason, n := range w.status(webKey).Counters.Drops {
		if n > dropped[reason] {
			return reason
		}
	}
	return ""
}

// hasHeard wants a datagram to have come to db as it was sent: db's own stack
// compares it with its checksum.
func (w *wire) hasHeard(t *testing.T, port uint16) {
	t.Helper()
	if err := w.db.SetReadDeadline(time.Now().Add(answerWithin)); err != nil {
		t.Fatal(err)
	}
	for buf := make([]byte, 100); ; {
		n, from, err := w.db.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		if from.String() == netip.AddrPortFrom(webAddr, port).String() && string(buf[:n]) == "hello" {
			return
		}
	}
}

// newWire puts web and db on a host, both of both families.
func newWire(t testing.TB, cfg Config, web Endpoint) *wire {
	t.Helper()
	h := newHost(t, nodeA, AttachAuto)
	if cfg.kernelTypes != nil {
		h.close()
		h.cfg.Logger, h.cfg.kernelTypes = cfg.Logger, cfg.kernelTypes
		h.open()
	}
	container := newSpace(t)
	db := h.endpoint(testVNI, "db", dbAddr.String(), container)
	db.Addresses = append(db.Addresses, dbAddr6)
	web.Addresses, web.MAC = []netip.Addr{webAddr, webAddr6}, webMAC
	for _, e := range []Endpoint{web, db} {
		e.Networks = []Network{{vpc, gateway}, {vpc6, gateway6}}
		h.put(e)
	}
	h.apply()
	server := in(container, func() (net.PacketConn, error) { return net.ListenPacket("udp4", "10.0.0.3:53") })
	t.Cleanup(func() { _ = server.Close() })
	return &wire{host: h, db: server}
}

func newGuestWire(t testing.TB, cfg Config) *wire {
	t.Helper()
	w := newWire(t, cfg, tapEndpoint())
	guest := w.boot("vm0")
	guest.asks(arpFrame(1, webMAC, webMAC, webAddr, gateway), func(f []byte) bool { return f[12] == 8 && f[13] == 6 })
	w.writeTo(guest.tap)
	return w
}

func newSocketWire(t testing.TB, cfg Config) *wire {
	t.Helper()
	container, web := newSpace(t), tapEndpoint()
	web.Kind, web.Device, web.Netns, web.Ifname = KindNetns, "", container.path, "eth0"
	w := newWire(t, cfg, web)
	socket := in(container, func() (*os.File, error) {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return nil, err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), "packets"), errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
			unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index}))
	})
	t.Cleanup(func() { _ = socket.Close() })
	w.writeTo(socket)
	return w
}

func (w *wire) writeTo(file *os.File) {
	w.send = func(header, frame []byte) error {
		_, err := file.Write(append(append([]byte{}, header...), frame...))
		return err
	}
}
