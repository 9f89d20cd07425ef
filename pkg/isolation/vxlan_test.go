package isolation

import (
	"net"
	"testing"

	"github.com/vishvananda/netlink"
)

// A tenant may have a tunnel of its own through the VPC. Its packets leave the
// inner checksum to the host, and have an outer one that is whole.
//
//	web 10.0.0.2, fd00:64::2, inside 172.16.0.1    far 10.0.0.4, fd00:64::4, inside 172.16.0.2
func TestATenantsOwnTunnelCrossesTheOverlay(t *testing.T) {
	p := newDualPair(t, 1400)
	for name, ends := range map[string]struct{ web, far, inside string }{
		"IPv4": {"10.0.0.2", "10.0.0.4", "172.16.4"},
		"IPv6": {"fd00:64::2", "fd00:64::4", "172.16.6"},
	} {
		t.Run(name, func(t *testing.T) {
			p.web.vxlan(t, ends.web, ends.far, ends.inside+".1/24")
			p.far.vxlan(t, ends.far, ends.web, ends.inside+".2/24")
			p.web.reaches(ends.inside + ".2")
			p.far.serveTCP(ends.inside + ".2:80")
			c, err := p.web.dial(ends.inside + ".2:80")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			echoes(t, c, 1<<20)
		})
	}
}

// vxlan makes a tunnel between two containers, with checksums of its own.
func (s *space) vxlan(t *testing.T, local, remote, address string) {
	t.Helper()
	in(s, func() (any, error) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = "vxlan", 1200
		link := &netlink.Vxlan{
			LinkAttrs: attrs, VxlanId: 1, SrcAddr: net.ParseIP(local), Group: net.ParseIP(remote), Port: 4789, UDPCSum: true,
		}
		return nil, netlink.LinkAdd(link)
	})
	t.Cleanup(func() {
		s.do(func() {
			if link, err := netlink.LinkByName("vxlan"); err == nil {
				_ = netlink.LinkDel(link)
			}
		})
	})
	s.address("vxlan", address)
}
