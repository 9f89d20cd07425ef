package ipsec

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
)

// Node 2 is a peer of node 0, and puts what looks like node 1's into its own SAs,
// which its kernel can be told to do.
//
//	1 ── 0 ── 2
func TestAPeerSpeaksForItselfAlone(t *testing.T) {
	requireKernel(t) // for the hostile one
	for _, victim := range []Kind{KindKernel, KindUserspace} {
		t.Run(fmt.Sprintf("to kind %d", victim), func(t *testing.T) {
			h := newHarness(t, KindUserspace, 3)
			h.kinds = map[int]Kind{0: victim, 2: KindKernel}
			f := newFleet(t, h)
			for _, other := range []int{1, 2} {
				f.put(t, 0, f.peer(other))
				f.put(t, other, f.peer(0))
				f.await(t, 0, other)
				f.await(t, other, 0)
			}
			f.lab.Spaces[2].Must(t, func() error { return f.forge(2, 0, 1) })
			here, honest := f.device(0).Address, f.device(1).Address
			ear := eavesdrop(t, f.lab.Spaces[0], f.deviceName(t, 0))
			if f.lab.Deliver(t, 2, 0, honest, here, f.device(2).Address) {
				t.Error("node 2 spoke for node 1")
			}
			// The kernel compares behind the device, libipsec before it: a program at the
			// device has to know.
			if seen := ear.of(honest) > 0; seen != (victim == KindKernel) {
				t.Errorf("what is forged is seen at the device: %v", seen)
			}
			if !f.lab.Deliver(t, 1, 0, honest, here, honest) {
				t.Error("node 1 cannot speak for itself")
			}
		})
	}
}

// forge lets a node's kernel send what claims to be another's through the SAs
// with a third. It is called in the first one's namespace.
func (f *fleet) forge(node, to, claimed int) error {
	policies, err := policiesOf(interfaceID(f.names[node]))
	if err != nil {
		return err
	}
	for _, p := range policies {
		if p.Dir != netlink.XFRM_DIR_OUT || remotePrefix(p) != f.peer(to).Prefix {
			continue
		}
		p.Src, p.Index = device.IPNet(f.peer(claimed).Prefix), 0
		// Sent from an address of the loopback device, through the tunnel's.
		link, err := netlink.LinkByName(f.names[node])
		if err != nil {
			return err
		}
		route := &netlink.Route{
			LinkIndex: link.Attrs().Index, Dst: device.IPNet(netip.PrefixFrom(f.device(to).Address, 128)),
		}
		return errors.Join(netlink.XfrmPolicyAdd(&p), netlink.RouteReplace(route))
	}
	return errors.New("there is no policy")
}
