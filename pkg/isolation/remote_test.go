package isolation

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
)

const (
	tunnelName = "wgtest"
	tunnelMTU  = 1420
	tunnelPort = 51820
)

// pair of hosts over an underlay, with a tunnel of the real kind between them.
//
//	a 198.18.0.1 ── underlay ── b 198.18.0.2
func newPair(t testing.TB, mode Mode) (a, b *host) {
	t.Helper()
	a, b = newHost(t, nodeA, mode), newHost(t, nodeB, mode)
	a.underlay(b.space, "under", "198.18.0.1/24", "198.18.0.2/24")
	keyA, keyB := newKey(t), newKey(t)
	a.tunnel(keyA, keyB, "198.18.0.2", b.prefix)
	b.tunnel(keyB, keyA, "198.18.0.1", a.prefix)
	// A handshake that is lost is tried again after five seconds.
	eventually(t, func() error { return a.pingNode(nodeB) })
	return a, b
}

// underlay is a wire to another space: a device of the same name in both.
func (s *space) underlay(other *space, name, own, others string) {
	s.t.Helper()
	in(s, func() (any, error) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = name, 1500
		ns, err := openNamespace(other.path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = ns.close() }()
		return nil, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name, PeerMTU: 1500, PeerNamespace: netlink.NsFd(ns.fd())})
	})
	s.address(name, own)
	other.address(name, others)
	s.isUp(name)
	other.isUp(name)
}

// isUp waits until the kernel takes packets for a device.
func (s *space) isUp(device string) {
	s.t.Helper()
	eventually(s.t, func() error {
		link := in(s, func() (netlink.Link, error) { return netlink.LinkByName(device) })
		if state := link.Attrs().OperState; state != netlink.OperUp {
			return fmt.Errorf("%s is %v", device, state)
		}
		return nil
	})
}

// pingNode asks another host itself.
func (h *host) pingNode(node netip.Prefix) error {
	c := in(h.space, func() (*icmp.PacketConn, error) {
		return icmp.ListenPacket("ip6:ipv6-icmp", h.prefix.Addr().Next().String())
	})
	defer func() { _ = c.Close() }()
	m := icmp.Message{Type: ipv6.ICMPTypeEchoRequest, Body: &icmp.Echo{ID: 1, Seq: 1}}
	b, err := m.Marshal(nil)
	if err != nil {
		return err
	}
	if _, err := c.WriteTo(b, &net.IPAddr{IP: node.Addr().Next().AsSlice()}); err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(answerWithin)); err != nil {
		return err
	}
	_, _, err = c.ReadFrom(make([]byte, 2000))
	return err
}

func newKey(t testing.TB) *ecdh.PrivateKey {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (s *space) address(device, prefix string) {
	s.t.Helper()
	in(s, func() (any, error) {
		link, err := netlink.LinkByName(device)
		if err != nil {
			return nil, err
		}
		addr, err := netlink.ParseAddr(prefix)
		if err != nil {
			return nil, err
		}
		if err := netlink.AddrAdd(link, nodad(addr)); err != nil {
			return nil, err
		}
		return nil, netlink.LinkSetUp(link)
	})
}

// spaceBind opens its sockets in a namespace, whichever thread asks.
type spaceBind struct {
	conn.Bind
	space *space
}

func (b spaceBind) Open(port uint16) (receive []conn.ReceiveFunc, actual uint16, err error) {
	b.space.do(func() { receive, actual, err = b.Bind.Open(port) })
	return receive, actual, err
}

// tunnel runs wireguard-go to one peer, and tells the datapath of it.
func (h *host) tunnel(own, peer *ecdh.PrivateKey, remote string, prefix netip.Prefix) {
	h.t.Helper()
	dev := in(h.space, func() (tun.Device, error) { return tun.CreateTUN(tunnelName, tunnelMTU) })
	wg := device.NewDevice(dev, spaceBind{conn.NewStdNetBind(), h.space}, device.NewLogger(device.LogLevelSilent, ""))
	h.t.Cleanup(wg.Close)
	settings := strings.Join([]string{
		"private_key=" + hex.EncodeToString(own.Bytes()),
		fmt.Sprintf("listen_port=%d", tunnelPort),
		"public_key=" + hex.EncodeToString(peer.PublicKey().Bytes()),
		fmt.Sprintf("endpoint=%s:%d", remote, tunnelPort),
		"allowed_ip=" + prefix.String(), "",
	}, "\n")
	if err := wg.IpcSet(settings); err != nil {
		h.t.Fatal(err)
	}
	if err := wg.Up(); err != nil {
		h.t.Fatal(err)
	}
	h.address(tunnelName, h.prefix.Addr().Next().String()+"/64")
	in(h.space, func() (any, error) {
		link, err := netlink.LinkByName(tunnelName)
		if err != nil {
			return nil, err
		}
		return nil, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(testMesh)})
	})
	h.state.Tunnels = []string{tunnelName}
	h.state.Nodes[prefix] = Node{Prefix: prefix, Device: tunnelName, MTU: tunnelMTU}
}

// One tenant on two hosts, and another tenant with the same addresses on one.
//
//	tenant 100: web 10.0.0.2 on a, db 10.0.0.3 on b
//	tenant 200: db 10.0.0.3 on b
func TestTenantAcrossHosts(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			a, b := newPair(t, mode)
			web, db, db2 := newSpace(t), newSpace(t), newSpace(t)
			a.endpoint(testVNI, "web", "10.0.0.2", web)
			a.knows(testVNI, "10.0.0.3", nodeB)
			b.endpoint(testVNI, "db", "10.0.0.3", db)
			b.endpoint(otherVNI, "db", "10.0.0.3", db2)
			b.knows(testVNI, "10.0.0.2", nodeA)
			a.apply()
			b.apply()

			web.reaches("10.0.0.3")
			db2.doesNotReach("10.0.0.2")
			db.serveTCP("10.0.0.3:80")
			db2.serveTCP("10.0.0.3:8080")
			c, err := web.dial("10.0.0.3:80")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			echoes(t, c, 4<<20)
			if err := web.connects("10.0.0.3:8080"); err == nil {
				t.Fatal("the other tenant's server answered")
			}
			db.serveUDP("10.0.0.3:53")
			for _, size := range []int{1, 100, 1372} {
				if err := web.asks("10.0.0.3:53", make([]byte, size), answerWithin); err != nil {
					t.Errorf("datagram of %d bytes: %v", size, err)
				}
			}
		})
	}
}

// nodad makes an IPv6 address usable at once.
func nodad(addr *netlink.Addr) *netlink.Addr {
	addr.Flags |= unix.IFA_F_NODAD
	return addr
}
