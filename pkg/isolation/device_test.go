package isolation

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// vnetHeader is the length of struct virtio_net_hdr before each frame of a tap.
const vnetHeader = 10

// vm is the guest's side of a tap.
type vm struct {
	t   testing.TB
	tap *os.File
}

func (h *host) boot(device string) *vm {
	h.t.Helper()
	tap := in(h.space, func() (*os.File, error) {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		request, err := unix.NewIfreq(device)
		if err != nil {
			return nil, err
		}
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
			return nil, errors.Join(err, unix.Close(fd))
		}
		return os.NewFile(uintptr(fd), device), nil
	})
	h.t.Cleanup(func() { _ = tap.Close() })
	return &vm{h.t, tap}
}

func (v *vm) send(header, frame []byte) {
	v.t.Helper()
	if header == nil {
		header = make([]byte, vnetHeader)
	}
	if _, err := v.tap.Write(append(header, frame...)); err != nil {
		v.t.Fatal(err)
	}
}

// hears waits for a frame that is as wanted.
func (v *vm) hears(wanted func(frame []byte) bool) {
	v.t.Helper()
	if err := v.hearsWithin(answerWithin, wanted); err != nil {
		v.t.Fatalf("guest hears nothing: %v", err)
	}
}

func (v *vm) hearsWithin(wait time.Duration, wanted func(frame []byte) bool) error {
	if err := v.tap.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	for buf := make([]byte, 70000); ; {
		n, err := v.tap.Read(buf)
		if err != nil {
			return err
		}
		if n > vnetHeader && wanted(buf[vnetHeader:n]) {
			return nil
		}
	}
}

// asks sends a frame until it is answered: the kernel drops what goes to a tap
// for a while after it was opened, up to a second if many devices change.
func (v *vm) asks(frame []byte, wanted func(frame []byte) bool) {
	v.t.Helper()
	eventually(v.t, func() error {
		v.send(nil, frame)
		return v.hearsWithin(silentFor, wanted)
	})
}

// tapEndpoint is web behind a tap, with its MAC to be learned.
func tapEndpoint() Endpoint {
	return Endpoint{
		Key: webKey, Kind: KindTap, Device: "vm0", MTU: 1400, Addresses: []netip.Addr{webAddr},
		Networks: []Network{{vpc, gateway}}, Ingress: allowAll, Egress: allowAll,
	}
}

// A guest speaks, is spoken to, and sends large datagrams in one piece.
//
//	guest 10.0.0.2 on a, db 10.0.0.3 on a, far 10.0.0.4 on b
func TestGuest(t *testing.T) {
	a, b := newPair(t, AttachAuto)
	db, far := newSpace(t), newSpace(t)
	a.endpoint(testVNI, "db", "10.0.0.3", db)
	a.put(tapEndpoint())
	a.knows(testVNI, "10.0.0.4", nodeB)
	b.endpoint(testVNI, "far", "10.0.0.4", far)
	b.knows(testVNI, "10.0.0.2", nodeA)
	a.apply()
	b.apply()
	guest := a.boot("vm0")

	guest.asks(arpFrame(1, webMAC, webMAC, webAddr, gateway), func(f []byte) bool {
		return bytes.Equal(f[12:14], []byte{8, 6}) && bytes.Equal(f[:6], webMAC) && bytes.Equal(f[22:28], gatewayMAC)
	})
	if got := a.status(webKey).MAC; !bytes.Equal(got, webMAC) {
		t.Errorf("learned %v", got)
	}
	db.serveUDP("10.0.0.3:53")
	far.serveUDP("10.0.0.4:53")
	for _, to := range []netip.Addr{dbAddr, farAddr} {
		guest.send(nil, udp4(to, 5000, 53))
		guest.hears(func(f []byte) bool {
			return bytes.Equal(f[26:30], to.AsSlice()) && bytes.Equal(f[42:47], []byte("hello"))
		})
	}

	// Older guests have the host cut datagrams into fragments (UFO).
	large := udpOf(3000, farAddr)
	header := unfinished(34, 40)
	header[1] = 3 // VIRTIO_NET_HDR_GSO_UDP
	binary.NativeEndian.PutUint16(header[2:], 42)
	binary.NativeEndian.PutUint16(header[4:], 1200)
	guest.send(header, large)
	eventually(t, func() error {
		if drops := a.status(webKey).Counters.Drops; drops["translation"] != 1 {
			return fmt.Errorf("drops: %v", drops)
		}
		return nil
	})

	t.Run("large datagrams", func(t *testing.T) {
		needUSO(t)
		guest.sendsInOnePiece(t)
	})
}

// sendsInOnePiece has three datagrams cut by the host, as a guest with
// segmentation offload does.
func (v *vm) sendsInOnePiece(t *testing.T) {
	t.Helper()
	const segment = 1000
	large := udpOf(3*segment, farAddr)
	binary.BigEndian.PutUint16(large[36:], 53)
	seed := uint16(sum(pseudo(webAddr.AsSlice(), farAddr.AsSlice(), 17, 8+3*segment), nil))
	binary.BigEndian.PutUint16(large[40:], seed)
	header := []byte{1, 5, 42, 0, 0, 0, 34, 0, 6, 0} // NEEDS_CSUM, GSO_UDP_L4, hdr_len, gso_size, csum_start, csum_offset
	binary.NativeEndian.PutUint16(header[4:], segment)
	v.send(header, large)
	for range 3 {
		v.hears(func(f []byte) bool {
			return bytes.Equal(f[26:30], farAddr.AsSlice()) && f[23] == 17 && len(f) >= 42+segment
		})
	}
}

// hostTap makes a tap that is somebody else's.
func hostTap(name string) error {
	fd, err := createTap(name)
	if err != nil {
		return err
	}
	return errors.Join(unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1), unix.Close(fd))
}

// A daemon that is killed before it has marked a tap leaves none: it would be taken for
// somebody else's.
func TestAnUnmarkedTapGoesWithItsMaker(t *testing.T) {
	h := newHost(t, nodeA, AttachAuto)
	fd := in(h.space, func() (int, error) { return createTap("vm0") })
	if now := h.devices(); now != "lo vm0" {
		t.Errorf("devices: %s", now)
	}
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
	if now := h.devices(); now != "lo" {
		t.Errorf("devices when its maker is gone: %s", now)
	}
}

// A tap that was there before is used and left; one that was not goes.
func TestTapsAreLeftAsTheyWere(t *testing.T) {
	h := newHost(t, nodeA, AttachAuto)
	in(h.space, func() (any, error) { return nil, hostTap("vm0") })
	h.put(tapEndpoint())
	other := tapEndpoint()
	other.Key, other.Device, other.Addresses = Key{otherVNI, "vm"}, "vm1", []netip.Addr{dbAddr}
	h.put(other)
	h.apply()
	if now := h.devices(); now != "lo vm0 vm1" {
		t.Fatalf("devices: %s", now)
	}
	h.onlyProgram("vm0")
	clear(h.state.Endpoints)
	clear(h.state.Addresses)
	h.apply()
	if now := h.devices(); now != "lo vm0" {
		t.Fatalf("devices: %s", now)
	}
	h.do(func() {
		link, err := netlink.LinkByName("vm0")
		if err != nil {
			t.Error(err)
			return
		}
		if own, err := h.dp.findOwn(link.Attrs().Index); own != "" || err != nil {
			t.Errorf("the datapath is still on vm0: %v", err)
		}
	})
}

// A bare-metal server that never speaks first, behind a device of the host's.
//
//	server 10.0.0.2 ── nic ── host, db 10.0.0.3
func TestASilentServerIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		server, db string
		network    Network
	}{
		"IPv4": {"10.0.0.2", "10.0.0.3", Network{vpc, gateway}},
		"IPv6": {"fd00:64::2", "fd00:64::3", Network{vpc6, gateway6}},
	} {
		t.Run(name, func(t *testing.T) { findSilent(t, netip.MustParseAddr(c.server), netip.MustParseAddr(c.db), c.network) })
	}
}

func findSilent(t *testing.T, own, other netip.Addr, network Network) {
	h := newHost(t, nodeA, AttachAuto)
	server, db := newSpace(t), newSpace(t)
	in(h.space, func() (any, error) {
		ns, err := openNamespace(server.path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = ns.close() }()
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "nic"
		return nil, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerHardwareAddr: webMAC, PeerNamespace: netlink.NsFd(ns.fd())})
	})
	server.address("eth0", netip.PrefixFrom(own, network.Prefix.Bits()).String())
	e := h.endpoint(testVNI, "db", other.String(), db)
	e.Networks = []Network{network}
	h.put(e)
	e = tapEndpoint()
	e.Kind, e.Device = KindDevice, "nic"
	e.Addresses, e.Networks = []netip.Addr{own}, []Network{network}
	h.put(e)
	h.apply()
	eventually(t, func() error {
		if h.status(webKey).MAC == nil {
			h.apply()
			return errors.New("no MAC")
		}
		return nil
	})
	db.reaches(own.String())
	server.reaches(other.String())
	link := in(h.space, func() (netlink.Link, error) { return netlink.LinkByName("nic") })
	if link.Attrs().Promisc == 0 {
		t.Error("the device takes only what is for its own MAC")
	}
	in(h.space, func() (any, error) { return nil, h.dp.Remove(t.Context()) })
	link = in(h.space, func() (netlink.Link, error) { return netlink.LinkByName("nic") })
	if link.Attrs().Promisc != 0 {
		t.Error("the device is still promiscuous")
	}
	muted := in(h.space, func() ([]byte, error) { return os.ReadFile("/proc/sys/net/ipv6/conf/nic/disable_ipv6") })
	if string(muted) != "0\n" {
		t.Errorf("disable_ipv6 is %q", muted)
	}
}
