package isolation

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	xfrmName = "xfrmtest"
	xfrmIfID = 42
	xfrmMTU  = 1400
)

// The request ids by which host a knows its peers.
const (
	reqIDOfB = 11
	reqIDOfC = 12
)

// sa is one direction of ESP in the kernel.
type sa struct {
	from, to string
	spi      int
	reqID    int
}

// xfrmDevice makes an xfrm interface with an address, or skips where the kernel
// has no IPsec.
func (s *space) xfrmDevice(own netip.Prefix) {
	s.t.Helper()
	var err error
	s.do(func() {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = xfrmName, xfrmMTU
		err = netlink.LinkAdd(&netlink.Xfrmi{LinkAttrs: attrs, Ifid: xfrmIfID})
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		s.t.Skip("kernel lacks xfrm interfaces")
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.address(xfrmName, own.Addr().Next().String()+"/64")
	in(s, func() (any, error) {
		link, err := netlink.LinkByName(xfrmName)
		if err != nil {
			return nil, err
		}
		return nil, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(testMesh)})
	})
}

// associate gives a space both directions of its SAs with a peer. What it sends may
// have any source, and what is not the peer's is refused by the host's stack.
func (s *space) associate(out, back sa, peer netip.Prefix) {
	s.t.Helper()
	var err error
	s.do(func() { err = addSAs(out, back, peer) })
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPROTONOSUPPORT) {
		s.t.Skipf("kernel lacks ESP: %v", err)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func addSAs(out, back sa, peer netip.Prefix) error {
	everything := &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
	for _, one := range []sa{out, back} {
		err := netlink.XfrmStateAdd(&netlink.XfrmState{
			Src: net.ParseIP(one.from), Dst: net.ParseIP(one.to), Spi: one.spi, Reqid: one.reqID, Ifid: xfrmIfID,
			Proto: netlink.XFRM_PROTO_ESP, Mode: netlink.XFRM_MODE_TUNNEL, ReplayWindow: 32,
			Selector: &netlink.XfrmPolicy{Src: everything, Dst: everything},
			Aead:     &netlink.XfrmStateAlgo{Name: "rfc4106(gcm(aes))", Key: make([]byte, 36), ICVLen: 128},
		})
		if err != nil {
			return fmt.Errorf("add state: %w", err)
		}
	}
	for _, p := range []netlink.XfrmPolicy{
		{Dir: netlink.XFRM_DIR_OUT, Src: everything, Dst: ipNet(peer)},
		{Dir: netlink.XFRM_DIR_IN, Src: ipNet(peer), Dst: everything},
	} {
		one := out
		if p.Dir == netlink.XFRM_DIR_IN {
			one = back
		}
		p.Ifid = xfrmIfID
		p.Tmpls = []netlink.XfrmPolicyTmpl{{
			Src: net.ParseIP(one.from), Dst: net.ParseIP(one.to), Reqid: one.reqID,
			Proto: netlink.XFRM_PROTO_ESP, Mode: netlink.XFRM_MODE_TUNNEL,
		}}
		if err := netlink.XfrmPolicyAdd(&p); err != nil {
			return fmt.Errorf("add policy: %w", err)
		}
	}
	return nil
}

// newTriangle is three hosts of one mesh. The tunnels are the kernel's IPsec, and
// the third is a peer that may send what it likes.
//
//	b 198.18.0.2 ── 198.18.0.1 a 198.18.1.1 ── 198.18.1.2 c
func newTriangle(t *testing.T, mode Mode) (a, b *host, c *space) {
	t.Helper()
	a, b, c = newHost(t, nodeA, mode), newHost(t, nodeB, mode), newSpace(t)
	a.underlay(b.space, "under", "198.18.0.1/24", "198.18.0.2/24")
	a.underlay(c, "wayside", "198.18.1.1/24", "198.18.1.2/24")
	for s, own := range map[*space]netip.Prefix{a.space: nodeA, b.space: nodeB, c: nodeC} {
		s.xfrmDevice(own)
	}
	toB, fromB := sa{"198.18.0.1", "198.18.0.2", 0x1001, reqIDOfB}, sa{"198.18.0.2", "198.18.0.1", 0x1002, reqIDOfB}
	toC, fromC := sa{"198.18.1.1", "198.18.1.2", 0x2001, reqIDOfC}, sa{"198.18.1.2", "198.18.1.1", 0x2002, reqIDOfC}
	a.associate(toB, fromB, nodeB)
	b.associate(fromB, toB, nodeA)
	a.associate(toC, fromC, nodeC)
	c.associate(fromC, toC, nodeA)
	a.state.Tunnels, b.state.Tunnels = []string{xfrmName}, []string{xfrmName}
	a.state.Nodes[nodeB] = Node{Prefix: nodeB, Device: xfrmName, MTU: xfrmMTU, RequestID: reqIDOfB}
	a.state.Nodes[nodeC] = Node{Prefix: nodeC, Device: xfrmName, MTU: xfrmMTU, RequestID: reqIDOfC}
	b.state.Nodes[nodeA] = Node{Prefix: nodeA, Device: xfrmName, MTU: xfrmMTU, RequestID: reqIDOfB}
	return a, b, c
}

var nodeC = netip.MustParsePrefix("fd12:340c:cccc:cccc::/64")

// send puts an IPv6 packet into the xfrm interface as it is.
func (s *space) send(packet []byte) {
	s.t.Helper()
	in(s, func() (any, error) {
		link, err := netlink.LinkByName(xfrmName)
		if err != nil {
			return nil, err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		defer func() { _ = unix.Close(fd) }()
		to := &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index, Protocol: uint16(networkOrder(unix.ETH_P_IPV6) >> 16)}
		return nil, unix.Sendto(fd, packet, 0, to)
	})
}

// foreign is how many packets were dropped as not their sender's, and nobody's.
func (h *host) foreign() uint64 {
	h.t.Helper()
	return in(h.space, h.dp.GlobalDrops)["not-owner"]
}

// A peer that is told to sends what claims to be another's through its own SAs,
// and nothing of it gets through.
//
//	tenant 100: web on a, db on b; c is a node of the mesh
func TestNoPeerOfTheKernelsIPsecSpeaksForAnother(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			a, b, c := newTriangle(t, mode)
			web, db := newSpace(t), newSpace(t)
			a.endpoint(testVNI, "web", "10.0.0.2", web)
			a.knows(testVNI, "10.0.0.4", nodeB)
			a.knows(testVNI, "10.0.0.6", nodeC)
			b.endpoint(testVNI, "db", "10.0.0.4", db)
			b.knows(testVNI, "10.0.0.2", nodeA)
			a.apply()
			b.apply()

			web.reaches("10.0.0.4")
			db.serveTCP("10.0.0.4:80")
			conn, err := web.dial("10.0.0.4:80")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			echoes(t, conn, 1<<20)
			if err := a.pingNode(nodeB); err != nil {
				t.Errorf("host b does not answer: %v", err)
			}
			a.hearsItself(c)
			if n := a.foreign() + b.foreign(); n != 0 {
				t.Fatalf("%d honest packets were dropped as another's", n)
			}
			a.isNotDeceived(c)
			a.knowsOnlyByRequestID()
		})
	}
}

// hearsItself wants web to get what c sends as itself.
func (h *host) hearsItself(c *space) {
	h.t.Helper()
	before := h.status(webKey).Counters.RxPackets
	c.send(viaXFRM(nodeC, netip.MustParseAddr("10.0.0.6"), tcpSegment(40000, 80, flagSYN, "honest")))
	eventually(h.t, func() error {
		if got := h.status(webKey).Counters.RxPackets; got != before+1 {
			return fmt.Errorf("web got %d packets of c's own, want 1", got-before)
		}
		return nil
	})
}

// isNotDeceived wants each lie of c's to be counted, and web to get none.
func (h *host) isNotDeceived(c *space) {
	h.t.Helper()
	before, forged := h.status(webKey).Counters.RxPackets, forgeries()
	for what, packet := range forged {
		dropped := h.foreign()
		c.send(packet)
		eventually(h.t, func() error {
			if got := h.foreign(); got != dropped+1 {
				return fmt.Errorf("%s: %d dropped, want 1", what, got-dropped)
			}
			return nil
		})
	}
	if got := h.status(webKey).Counters.RxPackets; got != before {
		h.t.Errorf("web got %d of %d forged packets", got-before, len(forged))
	}
	h.t.Logf("%d of %d forged packets were dropped", h.foreign(), len(forged))
}

// knowsOnlyByRequestID wants a node to be known by its request id, and by whichever
// device packets to it go.
func (h *host) knowsOnlyByRequestID() {
	h.t.Helper()
	node := h.state.Nodes[nodeB]
	node.RequestID = 0
	h.state.Nodes[nodeB] = node
	h.apply()
	dropped := h.foreign()
	if err := h.pingNode(nodeB); err == nil || h.foreign() == dropped {
		h.t.Errorf("a node without a request id spoke: %v, %d dropped", err, h.foreign()-dropped)
	}
	node.Device, node.RequestID = "lo", reqIDOfB
	h.state.Nodes[nodeB] = node
	h.apply()
	if err := h.pingNode(nodeB); err != nil {
		h.t.Errorf("a node that is reached by another device: %v", err)
	}
}

// viaXFRM is a packet of a node's tenant to web.
func viaXFRM(node netip.Prefix, tenant netip.Addr, segment []byte) []byte {
	return overlay(overlayAddr(node, 1, testVNI, tenant), overlayAddr(nodeA, 1, testVNI, webAddr), 6, segment)[etherHeader:]
}

// forgeries are what c sends as if it were b's, of every kind of packet.
func forgeries() map[string][]byte {
	one := netip.MustParseAddr("0.0.0.1")
	hostA, hostB := overlayAddr(nodeA, 0, 0, one), overlayAddr(nodeB, 0, 0, one)
	host := func(code byte) []byte {
		ping := append([]byte{128, code, 0, 0, 0, 1, 0, 1}, make([]byte, 40)...)
		return overlay(hostB, hostA, 58, seal(hostB, hostA, 58, ping))[etherHeader:]
	}
	nobody := netip.MustParsePrefix("fd12:340d:dddd:dddd::/64")
	return map[string][]byte{
		"a call":              viaXFRM(nodeB, farAddr, tcpSegment(40000, 80, flagSYN, "")),
		"a segment of a flow": viaXFRM(nodeB, farAddr, tcpSegment(80, 40000, 0x10, "data")),
		"a host's ping":       host(0),
		"a host's probe":      host(1),
		"a node nobody knows": viaXFRM(nobody, farAddr, tcpSegment(40000, 80, flagSYN, "")),
		"a's own":             viaXFRM(nodeA, farAddr, tcpSegment(40000, 80, flagSYN, "")),
	}
}

// What comes by an xfrm interface and out of no state is nobody's.
func TestAnXFRMInterfaceBringsNothingInClear(t *testing.T) {
	b := newBench(t)
	packet := fromFar(6, tcpSegment(40000, 80, flagSYN, "hi"))
	b.redirect(t, b.dp.fromTunnel, packet)
	atomic.StoreUint32(&b.dp.tables.state.XfrmIfindex, loopback) // where packets of a test come in
	b.drop(t, b.dp.fromTunnel, packet, 0, "not-owner")
}

// A kernel without IPsec has no helper to look at its states with, and takes the
// programs.
func TestAKernelWithoutIPsecTakesThePrograms(t *testing.T) {
	s := newSpace(t)
	load := func(sees uint32) error {
		spec, err := loadEdgenet()
		if err != nil {
			t.Fatal(err)
		}
		calls := 0
		for _, program := range spec.Programs {
			for i, ins := range program.Instructions {
				if ins.IsBuiltinCall() && ins.Constant == int64(asm.FnSkbGetXfrmState) {
					program.Instructions[i].Constant = 1 << 20 // a helper that no kernel has
					calls++
				}
			}
		}
		if calls == 0 {
			t.Fatal("no program looks at states")
		}
		if err := spec.Variables[edgenetVarSeesStates].Set(sees); err != nil {
			t.Fatal(err)
		}
		s.do(func() {
			var c *ebpf.Collection
			if c, err = ebpf.NewCollection(spec); err == nil {
				c.Close()
			}
		})
		return err
	}
	if err := load(0); err != nil {
		t.Errorf("without: %v", err)
	}
	if err := load(1); err == nil {
		t.Error("the call was not there")
	}
}
