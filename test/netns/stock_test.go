package netns

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/frame"
)

// replaced is a node whose edgenetd is gone, and whose place an operator takes
// with the commands of docs/tunnels.md.
type replaced struct {
	peer, own *lab.Host
	// operator is in own's place, watcher on peer.
	operator, watcher *lab.Container
	// dir has peer.json, own.json and what strongSwan is given.
	dir string
	// device is a name that is unique on the machine: sockets are named after it.
	device string
	// programs is where wireguard-go is.
	programs string
}

// replaceNode makes a mesh of two, whose tunnel is of a technology, and takes
// edgenetd away from the second.
//
//	edge-1 (edgenetd) ── 198.18.0.0/24 ── edge-2 (stock)
func replaceNode(t *testing.T, l *lab.Lab, technology string) replaced {
	t.Helper()
	hosts := l.Mesh("edge-1", "edge-2")
	r := replaced{peer: hosts[0], own: hosts[1], dir: t.TempDir(), device: fmt.Sprintf("stock%d", os.Getpid())}
	// They share a tenant, and so need a tunnel.
	r.peer.VPC("blue", "10.0.0.0/24")
	r.peer.Group("blue", "all", open)
	r.peer.Container("web").Attach("blue", "10.0.0.2", "all")
	r.own.Container("db").Attach("blue", "10.0.0.3", "all")
	r.peer.MustCtl("tunnel", "policy", "set", "node:edge-1,node:edge-2", technology)
	awaitTechnology(l, r.peer, r.own, technology)
	awaitTechnology(l, r.own, r.peer, technology)
	r.programs = filepath.Dir(lab.Program("edgenetctl"))
	r.watcher = r.peer.Insider("watcher")
	r.run(t, r.watcher, r.own.StateDir(), documented(t, "")[0])
	r.own.Stop()
	r.own.CleanUp()
	r.own.LeavesNothing()
	r.operator = r.own.Insider("operator")
	return r
}

// documented returns the commands of docs/tunnels.md for a stock peer, under a
// heading of the section, or those before the first.
func documented(t *testing.T, heading string) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/tunnels.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## A stock WireGuard or strongSwan on the other side\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for part := range strings.SplitSeq("\n"+section, "\n### ") {
		title, body, _ := strings.Cut(part, "\n")
		if title != heading {
			continue
		}
		var blocks []string
		for _, found := range regexp.MustCompile("(?s)\n```sh\n(.*?)\n```\n").FindAllStringSubmatch(body, -1) {
			blocks = append(blocks, found[1])
		}
		return blocks
	}
	t.Fatalf("docs/tunnels.md has no %q", heading)
	return nil
}

// attempt runs commands as an operator would, with the keys of a state directory.
func (r replaced) attempt(where *lab.Container, state, commands string) lab.Result {
	return where.Runs("env", "-C", r.dir,
		"STATE="+state, "DIR="+r.dir, "DEV="+r.device, "SWANCTL_DIR="+filepath.Join(r.dir, "swanctl"),
		"EDGENET_SOCKET="+r.peer.Socket(), "PATH="+r.programs+":"+os.Getenv("PATH"),
		"bash", "-euo", "pipefail", "-c", commands)
}

func (r replaced) run(t *testing.T, where *lab.Container, state, commands string) {
	t.Helper()
	if result := r.attempt(where, state, commands); result.Code != 0 {
		t.Fatalf("exit %d: %s%s\nof\n%s", result.Code, result.Stdout, result.Stderr, commands)
	}
}

// addresses are the overlay addresses of the two, as they were written down.
func (r replaced) addresses(t *testing.T) (peer, own netip.Addr) {
	t.Helper()
	for name, to := range map[string]*netip.Addr{"peer.json": &peer, "own.json": &own} {
		text, err := os.ReadFile(filepath.Join(r.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		var node struct{ Address netip.Addr }
		if err := json.Unmarshal(text, &node); err != nil {
			t.Fatal(err)
		}
		*to = node.Address
	}
	return peer, own
}

// talks expects pings to be answered both ways, and that the node that has
// edgenetd counts them and calls the tunnel up.
func (r replaced) talks(t *testing.T, l *lab.Lab) {
	t.Helper()
	peer, own := r.addresses(t)
	before := r.seen(t)
	r.operator.ReachesAddr(peer, "", "icmp")
	r.peer.Insider("pinger").ReachesAddr(own, "", "icmp")
	l.Await("edge-1 has seen it", func() error {
		now := r.seen(t)
		if now.State != "up" || now.RxBytes <= before.RxBytes || now.TxBytes <= before.TxBytes {
			return fmt.Errorf("it was %+v and is %+v", before, now)
		}
		return nil
	})
}

// seenTunnel is what the node with edgenetd tells of its tunnel.
type seenTunnel struct {
	State, Driver, Endpoint string
	RxBytes, TxBytes        uint64
}

func (r replaced) seen(t *testing.T) seenTunnel {
	t.Helper()
	var node struct{ Tunnel seenTunnel }
	r.peer.CtlJSON(&node, "node", "show", r.own.Name)
	return node.Tunnel
}

// stranger returns a state directory with keys that nobody admitted.
func stranger(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	script := `umask 077; wg genkey > wireguard.key; openssl genpkey -algorithm ed25519 -out node.key`
	cmd := exec.Command("bash", "-euc", script)
	cmd.Dir = dir
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make keys: %v: %s", err, said)
	}
	return dir
}

// An admitted node's place is taken by Debian's wg with the node's key: it reaches
// edgenetd's own address and is reached, also by keys that are made anew. With
// another key it gets nothing.
func TestAStockWireGuardTakesPart(t *testing.T) {
	t.Parallel()
	lab.NeedsTechnology(t, "wireguard")
	l := lab.NewTimed(t)
	r := replaceNode(t, l, "wireguard")
	r.programs += ":" + wireguardGo(t)
	blocks := documented(t, "wg")
	if len(blocks) != 3 {
		t.Fatalf("%d blocks are documented", len(blocks))
	}
	peer, _ := r.addresses(t)

	r.getsNothing(t, "nobody's key", stranger(t), blocks)
	other := l.Mesh("other")[0]
	r.getsNothing(t, "the key of another mesh's node", other.StateDir(), blocks)

	r.run(t, r.operator, r.own.StateDir(), blocks[0])
	r.talks(t, l)
	pings := r.operator.Pings(peer)
	r.run(t, r.operator, "", blocks[1])
	r.talks(t, l)
	// The peer is not there for a moment, and the first packet waits for the handshake.
	report := pings.Loses(100)
	t.Logf("new keys by hand: %d of %d pings lost", len(report.Lost), report.Sent)
	if got := r.handshake(t); got == "0" || got == "" {
		t.Errorf("the last handshake is %q", got)
	}
	r.run(t, r.operator, "", blocks[2])

	// The node is removed, and somebody has its key.
	kept := t.TempDir()
	must(t, r.operator, "cp", "-r", r.own.StateDir()+"/.", kept)
	r.own.Start()
	l.AwaitMesh(r.peer, r.own)
	r.own.MustCtl("leave")
	r.own.Stop()
	l.Await("edge-1 has no tunnel to edge-2", func() error {
		if keys := r.peers(t); strings.TrimSpace(keys) != "" {
			return fmt.Errorf("its device has the peers %q", keys)
		}
		return nil
	})
	r.getsNothing(t, "the key of a removed node", kept, blocks)
}

// peers are the keys of those that edge-1's WireGuard device knows.
func (r replaced) peers(t *testing.T) string {
	t.Helper()
	device := ""
	for _, name := range r.peer.Devices() {
		if strings.HasPrefix(name, "en") && strings.HasSuffix(name, "w") {
			device = name
		}
	}
	result := r.watcher.Runs("wg", "show", device, "peers")
	if result.Code != 0 {
		t.Fatalf("wg show %q: exit %d: %s", device, result.Code, result.Stderr)
	}
	return result.Stdout
}

// isWireGuard matches WireGuard's messages of a kind from one address to another.
func isWireGuard(from, to netip.Addr) func(f frame.Frame, kind byte) bool {
	return func(f frame.Frame, kind byte) bool {
		const header = 8 // UDP's
		return f.Src == from && f.Dst == to && f.Protocol == frame.ProtoUDP && len(f.Payload) >= header+32 &&
			f.Payload[header] == kind && f.Payload[header+1] == 0 && f.Payload[header+2] == 0 && f.Payload[header+3] == 0
	}
}

// getsNothing has the stock device begin with keys that the mesh does not know, or
// knows no more: nothing is answered, nothing carried, and nobody is added.
func (r replaced) getsNothing(t *testing.T, whose, state string, blocks []string) {
	t.Helper()
	const initiation, response, data = 1, 2, 4
	before := r.peers(t)
	peer, _ := r.addresses(t)
	wire := r.own.Wiretap()
	r.run(t, r.operator, state, blocks[0])
	wire.Shows("a handshake is begun with "+whose, func(f frame.Frame) bool {
		return isWireGuard(r.own.Underlay, r.peer.Underlay)(f, initiation)
	})
	r.operator.NeverReaches(peer, "icmp")
	if got := r.handshake(t); got != "0" {
		t.Errorf("with %s there is a handshake of %s", whose, got)
	}
	begun, answered, sent := 0, 0, 0
	for _, f := range wire.Stop() {
		switch there, back := isWireGuard(r.own.Underlay, r.peer.Underlay), isWireGuard(r.peer.Underlay, r.own.Underlay); {
		case there(f, initiation):
			begun++
		case back(f, response):
			answered++
		case there(f, data):
			sent++
		}
	}
	result := r.operator.Runs("wg", "show", r.device, "transfer")
	fields := strings.Fields(result.Stdout)
	if len(fields) != 3 {
		t.Fatalf("wg tells of bytes %q", result.Stdout+result.Stderr)
	}
	measured := fmt.Sprintf("%d handshakes begun, %d answered; %d packets sent, %s bytes received", begun, answered, sent, fields[1])
	lab.Note(t, lab.Figure{
		Promise: "somebody begins a tunnel with " + whose, Driver: "wireguard", Measured: measured, Bound: "0 answered, sent, received",
	})
	if answered+sent > 0 || fields[1] != "0" {
		t.Errorf("with %s: %s", whose, measured)
	}
	if now := r.peers(t); now != before {
		t.Errorf("with %s the peers are %q, before they were %q", whose, now, before)
	}
	r.run(t, r.operator, "", blocks[2])
}

// handshake is when the stock device made keys last, in seconds.
func (r replaced) handshake(t *testing.T) string {
	t.Helper()
	fields := strings.Fields(r.operator.Runs("wg", "show", r.device, "latest-handshakes").Stdout)
	if len(fields) != 2 {
		t.Fatalf("wg tells of handshakes %q", fields)
	}
	return fields[1]
}

// wireguardGo builds WireGuard's own program for userspace, for kernels without,
// and returns where it is.
func wireguardGo(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if exec.Command("modprobe", "-q", "wireguard").Run() == nil {
		return dir
	}
	out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "wireguard-go"), "golang.zx2c4.com/wireguard").CombinedOutput()
	if err != nil {
		t.Fatalf("build wireguard-go: %v: %s", err, out)
	}
	return dir
}

// The same by Debian's strongSwan, with the node's identity.
func TestAStockStrongSwanTakesPart(t *testing.T) {
	t.Parallel()
	lab.NeedsTechnology(t, "ipsec")
	l := lab.NewTimed(t)
	r := replaceNode(t, l, "ipsec")
	blocks := documented(t, "strongSwan")
	if len(blocks) != 3 {
		t.Fatalf("%d blocks are documented", len(blocks))
	}
	peer, _ := r.addresses(t)
	r.impersonates(t, blocks)

	r.run(t, r.operator, r.own.StateDir(), blocks[0])
	r.talks(t, l)
	keys := r.keys(t)
	pings := r.operator.Pings(peer)
	r.run(t, r.operator, "", blocks[1])
	r.talks(t, l)
	// What is sent in the moment in which the other end has not installed them yet.
	report := pings.Loses(10)
	t.Logf("new keys by hand: %d of %d pings lost", len(report.Lost), report.Sent)
	if now := r.keys(t); now == keys {
		t.Errorf("the keys are still %s", now)
	}
	r.run(t, r.operator, "", blocks[2])
}

// impersonates has a stranger call itself the node, with a key of its own.
func (r replaced) impersonates(t *testing.T, blocks []string) {
	t.Helper()
	stolen := r
	stolen.dir = t.TempDir()
	state := stranger(t)
	r.run(t, r.operator, state, fmt.Sprintf(
		`cp peer.json %[1]q/; jq --arg key "$(openssl pkey -in "$STATE/node.key" -pubout)" '.ipsec.publicKey = $key' own.json > %[1]q/own.json`, stolen.dir))
	result := stolen.attempt(r.operator, state, blocks[0])
	if result.Code == 0 || !strings.Contains(result.Stdout+result.Stderr, "AUTH_FAILED") {
		t.Errorf("a stranger is not refused: exit %d: %s%s", result.Code, result.Stdout, result.Stderr)
	}
	peer, _ := r.addresses(t)
	r.operator.NeverReaches(peer, "icmp")
	// It has no SA that could be ended.
	stolen.run(t, r.operator, state, strings.ReplaceAll(blocks[2], "swanctl --terminate", ": "))
}

// keys names the keys that the stock strongSwan receives with.
func (r replaced) keys(t *testing.T) string {
	t.Helper()
	said := r.operator.Runs("swanctl", "--list-sas", "--uri", "unix://"+filepath.Join(r.dir, "vici")).Stdout
	found := regexp.MustCompile(`in +[0-9a-f]{8}`).FindAllString(said, -1)
	if len(found) == 0 {
		t.Fatalf("strongSwan has no keys:\n%s", said)
	}
	return strings.Join(found, ", ")
}
