package ipsec

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/strongswan/govici/vici"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
)

// The other side is a strongSwan that somebody set up by hand, on IKE's own
// ports, with an admitted node's key.
func TestAStockStrongSwanTakesPart(t *testing.T) {
	h := newHarness(t, KindUserspace, 2)
	h.runDirs, h.names = h.runDirs[:1], h.names[:1] // the fleet is node 0
	f := newFleet(t, h)
	dir := shortTempDir(t)
	name := startStranger(t, h, 1, dir)
	theirs := f.stockPeer()
	h.lab.Spaces[1].Must(t, func() error { return prepare(name, theirs) })
	f.put(t, 0, theirs)

	key, err := h.keys[1].pem()
	if err != nil {
		t.Fatal(err)
	}
	loads := []struct {
		command string
		message any
	}{
		{"load-key", map[string]string{"type": "any", "data": key}},
		{"load-conn", map[string]any{"edgenet": map[string]any{
			"version":      2,
			"local_port":   4500,
			"remote_port":  listenPort,
			"remote_addrs": []string{h.lab.Underlay(0).String()},
			"proposals":    []string{"aes256gcm16-prfsha384-x25519"},
			"encap":        "yes",
			"local":        stockAuth(t, h.keys[1].Public()),
			"remote":       stockAuth(t, h.keys[0].Public()),
			"children": map[string]any{"net": map[string]any{
				"local_ts":      []string{theirs.Prefix.String()},
				"remote_ts":     []string{netip.PrefixFrom(f.device(0).Address, 64).Masked().String()},
				"esp_proposals": []string{"aes256gcm16-x25519"},
			}},
		}}},
		{"initiate", map[string]string{"child": "net", "timeout": "5000"}},
	}
	for _, l := range loads {
		m, err := vici.MarshalMessage(l.message)
		if err != nil {
			t.Fatal(err)
		}
		if err := request(t.Context(), dir, l.command, m); err != nil {
			t.Fatal(err)
		}
	}
	if st := f.await(t, 0, 1); st.Endpoint != theirs.Endpoint {
		t.Errorf("the peer is at %s, want %s", st.Endpoint, theirs.Endpoint)
	}
	ours, their := f.device(0).Address, theirs.Prefix.Addr().Next()
	if !h.lab.Deliver(t, 0, 1, ours, their, ours) || !h.lab.Deliver(t, 1, 0, their, ours, their) {
		t.Error("a datagram was not delivered")
	}
}

// stockPeer is node 1 at the port where a stock strongSwan takes ESP in UDP.
func (f *fleet) stockPeer() tunnel.Peer {
	p := f.peer(1)
	p.Endpoint = netip.AddrPortFrom(p.Endpoint.Addr(), 4500)
	return p
}

func stockAuth(t *testing.T, key tunnel.PublicKey) map[string]any {
	t.Helper()
	text, err := PublicPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	id := identity(t, key)
	if !strings.HasPrefix(id, "@#") {
		t.Errorf("%s is no key id", id)
	}
	return map[string]any{"auth": "pubkey", "id": id, "pubkeys": []string{text}}
}

// prepare gives a stock charon's device what kernel-libipsec needs: an address of
// its own, and the way to the mesh.
func prepare(name string, own tunnel.Peer) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	addr := &netlink.Addr{
		IPNet: device.IPNet(netip.PrefixFrom(own.Prefix.Addr().Next(), 128)), Flags: unix.IFA_F_NODAD,
	}
	if err := netlink.AddrAdd(link, addr); err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: device.IPNet(mesh)})
}
