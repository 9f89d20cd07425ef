package netns

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
)

// otherPort is where somebody has WireGuard listen who must not.
const otherPort = 40404

// changes are what others do behind edgenetd's back.
var changes = []fault{
	{
		promise: "`ip link set mtu`", bound: repairTime, says: "its MTU was 1300",
		do: func(g *ground) { g.runs("ip", "link", "set", g.device(), "mtu", "1300") },
	},
	{
		// An xfrm interface asks the routes for what it is given to send, and drops it
		// where there is none; other devices do not ask.
		promise: "`ip -6 route flush`", bound: 0, kernelIPsec: repairTime, says: "was gone",
		do: func(g *ground) { g.runs("ip", "-6", "route", "flush", "proto", "101") },
	},
	{
		promise: "`ip address del`", bound: 0, says: "its address",
		do: func(g *ground) { g.runs("ip", "-6", "address", "flush", "dev", g.device(), "scope", "global") },
	},
	{
		promise: "the datapath's program is taken off the device", bound: repairTime, says: "program was taken off",
		do: func(g *ground) { g.near.DetachPrograms(g.device()) },
	},
	{
		promise: "`ip link set down`", bound: repairTime, says: "it was down",
		do: func(g *ground) { g.runs("ip", "link", "set", g.device(), "down") },
	},
	{
		promise: "`ip link del`", bound: repairTime, says: "was deleted", // The device, or it, meanwhile.
		do: func(g *ground) { g.runs("ip", "link", "del", g.device()) },
	},
	{
		promise: "the device of waiting packets is set down", bound: 0, says: "it was down",
		do: func(g *ground) { g.runs("ip", "link", "set", g.holding(), "down") },
	},
	{
		promise: "it is renamed", bound: 0, says: "its name was elsewhere",
		do: func(g *ground) { g.renames(g.holding(), "elsewhere") },
	},
	{
		promise: "it is deleted", bound: 0, says: "is made anew",
		do: func(g *ground) { g.runs("ip", "link", "del", g.holding()) },
	},
	{
		promise: "`wg set peer remove`", drivers: "wireguard", bound: repairTime, says: "it was removed",
		do: func(g *ground) { g.runs("wg", "set", g.device(), "peer", g.peer(), "remove") },
	},
	{
		promise: "`wg set peer allowed-ips`", drivers: "wireguard", bound: repairTime, says: "its allowed IPs were",
		do: func(g *ground) { g.runs("wg", "set", g.device(), "peer", g.peer(), "allowed-ips", "fd99::/64") },
	},
	{
		promise: "a stranger's key gets the peer's prefix by `wg set`", drivers: "wireguard", bound: repairTime, says: "its allowed IPs were",
		do: func(g *ground) {
			g.runs("wg", "set", g.device(), "peer", base64.StdEncoding.EncodeToString(make([]byte, 31))[:42]+"A=", "allowed-ips", g.prefix())
		},
	},
	{
		promise: "`wg set private-key`", drivers: "wireguard", bound: repairTime, says: "its private key was another",
		do: func(g *ground) {
			path := filepath.Join(g.near.StateDir(), "other.key")
			writeFile(g.t, path, g.runs("wg", "genkey"))
			defer func() { _ = os.Remove(path) }()
			g.runs("wg", "set", g.device(), "private-key", path)
		},
	},
	{
		promise: "`wg set listen-port`", drivers: "wireguard", bound: repairTime, says: "it listened on UDP port",
		do: func(g *ground) { g.runs("wg", "set", g.device(), "listen-port", fmt.Sprint(otherPort)) },
	},
	{
		promise: "`swanctl --terminate`", drivers: "ipsec", bound: repairTime, says: "SAs to a peer are gone",
		do: func(g *ground) { g.swanctl("--terminate", "--ike", g.connection()) },
	},
	{
		promise: "the peer is unloaded by swanctl", drivers: "ipsec", bound: repairTime, says: "its configuration was removed",
		do: func(g *ground) {
			path := filepath.Join(g.near.StateDir(), "empty.conf")
			writeFile(g.t, path, "")
			defer func() { _ = os.Remove(path) }()
			g.swanctl("--load-conns", "--file", path)
		},
	},
	{
		promise: "`ip xfrm state flush`", drivers: "ipsec-kernel", bound: repairTime, says: "SAs have vanished from the kernel",
		do: func(g *ground) { g.runs("ip", "xfrm", "state", "flush") },
	},
	{
		promise: "`ip xfrm policy flush`", drivers: "ipsec-kernel", bound: repairTime, says: "SAs have vanished from the kernel",
		do: func(g *ground) { g.runs("ip", "xfrm", "policy", "flush") },
	},
}

// newGround makes two hosts with a tenant.
func newGround(t *testing.T, l *lab.Lab, driver string) *ground {
	t.Helper()
	hosts := l.Mesh("edge-1", "edge-2")
	g := &ground{Lab: l, t: t, near: hosts[0], far: hosts[1], root: hosts[0].Insider("root"), driver: driver}
	g.web, g.db = inOneVPC(hosts)
	g.db.Reaches(g.web, "icmp")
	return g
}

// runs runs a program on near that has to end well, and returns what it said.
func (g *ground) runs(name string, args ...string) string {
	g.t.Helper()
	result := g.root.Runs(name, args...)
	if result.Code != 0 {
		g.t.Fatalf("%s %s: exit %d: %s%s", name, strings.Join(args, " "), result.Code, result.Stdout, result.Stderr)
	}
	return result.Stdout
}

// renames gives a device of near's another name. Kernels before 6.2 rename none that is
// up, and edgenetd sets it up again at once.
func (g *ground) renames(device, name string) {
	g.t.Helper()
	g.Await(device+" has another name", func() error {
		steps := fmt.Sprintf("printf 'link set %s down\\nlink set %s name %s\\n' | ip -batch -", device, device, name)
		if result := g.root.Runs("sh", "-c", steps); result.Code != 0 {
			return fmt.Errorf("exit %d: %s", result.Code, result.Stderr)
		}
		return nil
	})
}

// tunnel is near's to far.
func (g *ground) tunnel() listedTunnel {
	g.t.Helper()
	var all []listedTunnel
	g.near.CtlJSON(&all, "tunnel", "list")
	if len(all) != 1 || all[0].Tunnel.Driver != g.driver {
		g.t.Fatalf("the tunnels are %+v, want one by %s", all, g.driver)
	}
	return all[0]
}

func (g *ground) device() string { g.t.Helper(); return g.tunnel().Tunnel.Device }

// holding is near's device of waiting packets.
func (g *ground) holding() string {
	g.t.Helper()
	for _, line := range strings.Split(g.runs("ip", "-brief", "link", "show", "type", "tun"), "\n") {
		if name, _, _ := strings.Cut(line, " "); strings.HasPrefix(name, "en") && strings.HasSuffix(name, "h") {
			return name
		}
	}
	g.t.Fatal("there is none in which packets wait")
	return ""
}

// peer is what WireGuard knows far by.
func (g *ground) peer() string {
	g.t.Helper()
	return strings.TrimSpace(g.runs("wg", "show", g.device(), "peers"))
}

// prefix is far's.
func (g *ground) prefix() string {
	g.t.Helper()
	node, err := g.near.Node(g.far.Name)
	if err != nil {
		g.t.Fatal(err)
	}
	return node.GetPrefix()
}

// swanctl speaks to near's charon.
func (g *ground) swanctl(args ...string) string {
	g.t.Helper()
	sockets, err := filepath.Glob(filepath.Join(g.near.RunDir(), "ipsec-*", "charon.vici"))
	if err != nil || len(sockets) != 1 {
		g.t.Fatalf("the control sockets are %v, %v", sockets, err)
	}
	return g.runs("swanctl", append(args, "--uri", "unix://"+sockets[0])...)
}

// connection is charon's name for far.
func (g *ground) connection() string {
	g.t.Helper()
	name, _, _ := strings.Cut(g.swanctl("--list-conns"), ":")
	return name
}
