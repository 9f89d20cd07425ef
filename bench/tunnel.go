package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"edgenet.dev/edgenet/test/netns/lab"
)

// Addresses inside the bare tunnel, and of the VXLAN in it.
var (
	bareNet  = netip.MustParsePrefix("10.99.0.0/24")
	vxlanNet = netip.MustParsePrefix("10.98.0.0/24")
)

// barePort is the bare tunnel's port on the underlay, beside edgenet's own.
const barePort = 51821

// bareTunnel is WireGuard of the same kind as edgenet's between the same two
// hosts, and nothing else: no containers, no datapath.
type bareTunnel struct {
	client, server *lab.Container
	// serverIP is the server's address in the tunnel, vxlanIP in the VXLAN.
	serverIP, vxlanIP netip.Addr
	ends              [2]end
}

// end is one side of the bare tunnel.
type end struct {
	at       *lab.Container
	device   string
	key      string
	underlay netip.Addr
}

// newBareTunnel makes both ends with the MTU of edgenet's tunnel.
func newBareTunnel(t lab.TB, left, right *lab.Host) *bareTunnel {
	t.Helper()
	peer, err := left.Node(right.Name)
	if err != nil {
		t.Fatalf("read tunnel: %v", err)
	}
	tunnel := peer.GetTunnel()
	b := &bareTunnel{client: left.Insider("bare-client"), server: right.Insider("bare-server")}
	b.serverIP, b.vxlanIP = host(bareNet, 2), host(vxlanNet, 2)
	for i, at := range []*lab.Container{b.client, b.server} {
		b.ends[i] = end{
			at: at, device: fmt.Sprintf("enb%d%d", os.Getpid()%100000, i),
			key: must(t, at, "wg", "genkey"), underlay: at.IP,
		}
		b.ends[i].make(t, tunnel.GetDriver(), tunnel.GetMtu())
	}
	for i := range b.ends {
		b.ends[i].configure(t, b.ends[1-i], i+1)
	}
	return b
}

// make starts the device, by edgenetd's own userspace WireGuard or the kernel's.
func (e end) make(t lab.TB, driver string, mtu uint32) {
	t.Helper()
	if driver == "wireguard-kernel" {
		must(t, e.at, "ip", "link", "add", e.device, "mtu", fmt.Sprint(mtu), "type", "wireguard")
		t.Cleanup(func() { must(t, e.at, "ip", "link", "delete", e.device) })
		return
	}
	stop := e.at.Starts(lab.Program("edgenetd"), "wireguard-userspace", "--device", e.device, "--mtu", fmt.Sprint(mtu))
	t.Cleanup(func() {
		stop()
		// The device is made to outlive the process.
		must(t, e.at, "ip", "link", "delete", e.device)
	})
	e.at.Awaits("the bare tunnel's control socket", func() error {
		_, err := os.Stat(filepath.Join("/var/run/wireguard", e.device+".sock"))
		return err
	})
}

// configure gives the device its key, its peer and its address.
func (e end) configure(t lab.TB, peer end, number int) {
	t.Helper()
	public := strings.TrimSpace(must(t, e.at, "sh", "-c", "wg pubkey <"+peer.keyFile(t)))
	must(t, e.at, "wg", "set", e.device, "listen-port", fmt.Sprint(barePort), "private-key", e.keyFile(t),
		"peer", public, "endpoint", netip.AddrPortFrom(peer.underlay, barePort).String(), "allowed-ips", bareNet.String())
	must(t, e.at, "ip", "address", "add", netip.PrefixFrom(host(bareNet, number), bareNet.Bits()).String(), "dev", e.device)
	must(t, e.at, "ip", "link", "set", e.device, "up")
}

// keyFile writes the private key where wg can read it.
func (e end) keyFile(t lab.TB) string {
	t.Helper()
	path := filepath.Join(e.at.Host().RunDir(), e.device+".key")
	if err := os.WriteFile(path, []byte(e.key), 0o600); err != nil {
		t.Fatalf("write key: %v", err)
	}
	return path
}

// addVXLAN puts a VXLAN into the bare tunnel.
func (b *bareTunnel) addVXLAN(t lab.TB) {
	t.Helper()
	for i, e := range b.ends {
		device, remote := "envx0", host(bareNet, 2-i)
		must(t, e.at, "ip", "link", "add", device, "type", "vxlan", "id", "7",
			"remote", remote.String(), "dstport", "4789", "dev", e.device)
		t.Cleanup(func() { must(t, e.at, "ip", "link", "delete", device) })
		must(t, e.at, "ip", "address", "add", netip.PrefixFrom(host(vxlanNet, i+1), vxlanNet.Bits()).String(), "dev", device)
		must(t, e.at, "ip", "link", "set", device, "up")
	}
	b.client.ReachesAddr(b.vxlanIP, "", "icmp")
}

// host is the numbered address of a prefix.
func host(prefix netip.Prefix, number int) netip.Addr {
	address := prefix.Addr()
	for range number {
		address = address.Next()
	}
	return address
}

// must runs a program in a namespace and returns what it said.
func must(t lab.TB, at *lab.Container, name string, args ...string) string {
	t.Helper()
	result := at.Runs(name, args...)
	if result.Code != 0 {
		t.Fatalf("%s %s: exit %d: %s", name, strings.Join(args, " "), result.Code, result.Stderr)
	}
	return result.Stdout
}
