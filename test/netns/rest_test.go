package netns

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/frame"
)

// wakeTime is how much longer than a handshake the first packet of a tunnel that
// rests may take, on a machine that does nothing else; others get busyTime more.
const (
	wakeTime = 100 * time.Millisecond
	busyTime = 400 * time.Millisecond
)

// idleMesh is a mesh whose tunnels rest after two seconds, or after the time that a
// host is given by its name.
func idleMesh(l *lab.Lab, idle map[string]string, names ...string) []*lab.Host {
	var hosts []*lab.Host
	for _, name := range names {
		h := l.Host(name)
		h.Flags["tunnel-idle"] = cmp.Or(idle[name], "2s")
		h.Start()
		hosts = append(hosts, h)
	}
	hosts[0].Init()
	token := hosts[0].Token("--uses", fmt.Sprint(len(hosts)-1))
	for _, h := range hosts[1:] {
		h.Join(token)
	}
	l.AwaitMesh(hosts...)
	return hosts
}

// awaitTunnel waits until a host says that its tunnel to another is in a state, by a
// driver that a word is in.
func awaitTunnel(l *lab.Lab, host, to *lab.Host, state, driver string) {
	l.Await(fmt.Sprintf("the tunnel of %s to %s is %s", host, to, state), func() error {
		nodes, err := host.Nodes()
		if err != nil {
			return err
		}
		for _, n := range nodes {
			if n.GetName() == to.Name {
				if t := n.GetTunnel(); t.GetState() != state || !strings.Contains(t.GetDriver(), driver) {
					return fmt.Errorf("it is %v", t)
				}
				return nil
			}
		}
		return fmt.Errorf("it knows no %s", to)
	})
}

// carries matches what a tunnel between two hosts sends: all UDP but gossip.
func carries(a, b *lab.Host) func(frame.Frame) bool {
	return func(f frame.Frame) bool {
		between := f.Src == a.Underlay && f.Dst == b.Underlay || f.Src == b.Underlay && f.Dst == a.Underlay
		if !between || f.Protocol != frame.ProtoUDP || len(f.Payload) < 4 {
			return false
		}
		const gossip = 7946
		from, to := int(f.Payload[0])<<8|int(f.Payload[1]), int(f.Payload[2])<<8|int(f.Payload[3])
		return from != gossip && to != gossip
	}
}

// awaitSilence waits until nothing is sent between two hosts for some seconds, of
// what their tunnels send.
func awaitSilence(l *lab.Lab, a, b *lab.Host, lasting time.Duration) {
	wire := a.Wiretap()
	seen, since := 0, time.Now()
	l.Await(fmt.Sprintf("nothing is sent between %s and %s for %s", a, b, lasting), func() error {
		sent := 0
		for _, f := range wire.Frames() {
			if carries(a, b)(f) {
				sent++
			}
		}
		if sent != seen {
			seen, since = sent, time.Now()
		}
		if quiet := time.Since(since); quiet < lasting {
			return fmt.Errorf("for %s", quiet)
		}
		return nil
	})
	wire.Stop()
}

// fullRest is longer than the time between two steps in which an IPsec tunnel goes to
// rest: three seconds, and a round of two. shortRest is longer than a round.
const (
	fullRest  = 6 * time.Second
	shortRest = 3 * time.Second
)

// rests waits until both ends of a tunnel rest and have been silent for a while.
func rests(l *lab.Lab, a, b *lab.Host, driver string, lasting time.Duration) {
	awaitTunnel(l, a, b, "resting", driver)
	awaitTunnel(l, b, a, "resting", driver)
	awaitSilence(l, a, b, lasting)
}

// wakes pings through a tunnel that rests: none may be lost, and the first one may
// not take much longer than a handshake, whose time is told by what made it.
func wakes(t *testing.T, from, to *lab.Container, what string, handshake func() time.Duration) {
	t.Helper()
	ping := from.Pings(to.IP)
	flow := from.Streams(to, "tcp/7") // which lasts as long as some pings
	flow.Runs()
	flow.Stop()
	report := ping.Loses(0)
	if len(report.RTTs) == 0 {
		return
	}
	first, keys := report.RTTs[0], handshake()
	t.Logf("%s: the first ping is answered after %s, of which the handshake is %s; %d of %d lost",
		what, first.Round(time.Millisecond), keys.Round(time.Millisecond), len(report.Lost), report.Sent)
	if first > keys+lab.Slowly(wakeTime+busyTime) {
		t.Errorf("%s: the first ping took %s, the handshake %s", what, first, keys)
	}
}

// lastPair is the time between the last lines of a log that match the first and the
// second expression, each of which begins with a time as in layout.
func lastPair(t *testing.T, files, layout, begins, ends string) time.Duration {
	t.Helper()
	paths, err := filepath.Glob(files)
	if err == nil && len(paths) == 0 {
		return 0 // the kernel's WireGuard writes none
	}
	if err != nil || len(paths) != 1 {
		t.Fatalf("%s: %v, %v", files, paths, err)
	}
	text, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	last := func(expression string) time.Time {
		found := regexp.MustCompile(`(?m)`+expression).FindAllSubmatch(text, -1)
		if len(found) == 0 {
			t.Fatalf("%s has no %q:\n%s", paths[0], expression, text)
		}
		at, err := time.Parse(layout, string(found[len(found)-1][1]))
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	return max(0, last(ends).Sub(last(begins)))
}

// Edge nodes have a tunnel once they share a VPC, and not before. It rests when
// nothing is carried, without a packet on the wire, also over a restart, and is
// there again for the first packet, by either technology. What waits for one that
// does not come is bounded, and counted.
//
//	cloud-1     edge-1: web ── blue ── edge-2: db
func TestTunnelsRestAndWake(t *testing.T) {
	t.Parallel()
	l := lab.NewTimed(t)
	hosts := idleMesh(l, nil, "cloud-1", "edge-1", "edge-2")
	cloud, edge1, edge2 := hosts[0], hosts[1], hosts[2]
	cloud.VPC("blue", "10.0.0.0/24")
	cloud.Group("blue", "all", open)
	web, db := edge1.Container("web").Serves("tcp/7", "udp/53"), edge2.Container("db").Serves("tcp/7", "udp/53")
	web.Attach("blue", "10.0.0.2", "all")
	awaitTunnel(l, edge1, edge2, "not needed", "")
	for _, host := range hosts[1:] {
		if log := host.Log(); strings.Contains(log, "tunnel peer added") && strings.Count(log, "tunnel peer added") != 1 {
			t.Errorf("%s has other peers than the cloud:\n%s", host, log)
		}
	}
	attached := time.Now()
	db.Attach("blue", "10.0.0.3", "all")
	db.Reaches(web, "icmp")
	t.Logf("the first ping after an attach is answered %s after it began", time.Since(attached).Round(time.Millisecond))

	if lab.Uses("wireguard") {
		rests(l, edge1, edge2, "wireguard", shortRest)
		edge1.Restart()
		edge1.KillTunnels() // with all keys, so that there has to be a handshake
		rests(l, edge1, edge2, "wireguard", shortRest)
		wakes(t, web, db, "WireGuard", func() time.Duration {
			return lastPair(t, filepath.Join(edge1.RunDir(), "wireguard-*.log"), time.RFC3339Nano,
				`^time=(\S+) .*Sending handshake initiation`, `^time=(\S+) .*Received handshake response`)
		})
		awaitTunnel(l, edge1, edge2, "up", "wireguard")
		awaitTunnel(l, edge2, edge1, "up", "wireguard")
		rests(l, edge1, edge2, "wireguard", 0)
	}
	if lab.Uses("ipsec") {
		cloud.MustCtl("tunnel", "policy", "set", "edge-edge", "ipsec")
		restsByIPsec(t, l, web, db)
		losesOnlyTooMuch(l, web, db)
	}
}

// restsByIPsec has the tunnel of two containers' hosts rest and be woken from either
// end.
func restsByIPsec(t *testing.T, l *lab.Lab, web, db *lab.Container) {
	one, other := web.Host(), db.Host()
	rests(l, one, other, "ipsec", fullRest)
	for _, pair := range [][2]*lab.Container{{web, db}, {db, web}} {
		from := pair[0].Host()
		other.Restart()
		rests(l, one, other, "ipsec", shortRest)
		wakes(t, pair[0], pair[1], "IPsec, woken by "+from.Name, func() time.Duration {
			return lastPair(t, filepath.Join(from.RunDir(), "ipsec-*", "charon.log"), "2006-01-02T15:04:05.000",
				`^(\S+) .*initiating IKE_SA`, `^(\S+) .*CHILD_SA .* established`)
		})
		rests(l, one, other, "ipsec", fullRest)
	}
}

// losesOnlyTooMuch has more packets wait for a tunnel that does not come than may.
func losesOnlyTooMuch(l *lab.Lab, web, db *lab.Container) {
	near, far := web.Host(), db.Host()
	far.CutOff()
	var burst [][]byte
	for n := range uint16(1000) {
		datagram := frame.UDP(netip.AddrPortFrom(web.IP, 30_000), netip.AddrPortFrom(db.IP, 53), []byte{byte(n >> 8), byte(n)})
		packet := frame.IPv4{Src: web.IP, Dst: db.IP, Protocol: frame.ProtoUDP}.Packet(datagram)
		burst = append(burst, frame.Ethernet(frame.GatewayMAC, web.MAC(), frame.TypeIPv4, packet))
	}
	web.Injects("eth0", burst...)
	l.Await("what was given up is counted", func() error {
		var status struct{ Drops map[string]int }
		near.CtlJSON(&status, "status")
		if n := status.Drops["tunnel-not-ready"]; n < 1000-256 || n > 1100 {
			return fmt.Errorf("%d were given up: %v", n, status.Drops)
		}
		return nil
	})
	far.PlugIn()
	web.Reaches(db, "icmp", "udp/53")
}

// Ends that would rest after different times rest together, after the longer one,
// and not with one that never does. What is sent at any moment of that is not lost.
//
//	edge-1, 2 s: web ── blue ── edge-2, 12 s: db
//	                     └───── cloud-1, never: store
func TestEndsOfDifferentIdleTimesRestTogether(t *testing.T) {
	t.Parallel()
	lab.NeedsTechnology(t, "ipsec")
	l := lab.NewTimed(t)
	hosts := idleMesh(l, map[string]string{"cloud-1": "0", "edge-2": "12s"}, "cloud-1", "edge-1", "edge-2")
	cloud, edge1, edge2 := hosts[0], hosts[1], hosts[2]
	cloud.VPC("blue", "10.0.0.0/24")
	cloud.Group("blue", "all", open)
	web, db, store := edge1.Container("web"), edge2.Container("db"), cloud.Container("store")
	web.Attach("blue", "10.0.0.2", "all")
	db.Attach("blue", "10.0.0.3", "all")
	store.Attach("blue", "10.0.0.4", "all")
	awake := db.PingsEvery(web.IP, time.Second) // until those that count do it
	cloud.MustCtl("tunnel", "policy", "set", "any", "ipsec")
	for _, pair := range [][2]*lab.Host{{edge1, edge2}, {edge2, edge1}, {edge1, cloud}, {cloud, edge1}, {edge2, cloud}} {
		awaitTunnel(l, pair[0], pair[1], "up", "ipsec")
	}
	// Each of these is sent after one end alone would have let the session go.
	toEdge, toCloud := db.PingsEvery(web.IP, 6*time.Second), store.PingsEvery(web.IP, 6*time.Second)
	awake.Stop()
	said := map[*lab.Host]int{edge1: len(edge1.Log()), edge2: len(edge2.Log())}
	time.Sleep(13 * time.Second) // three of them
	for host, before := range said {
		if log := host.Log()[before:]; strings.Contains(log, "tunnel rests") {
			t.Errorf("a tunnel of %s has come to rest before both ends would have:\n%s", host, log)
		}
	}
	toEdge.Loses(0)
	for _, phase := range []time.Duration{0, 3 * time.Second} { // the session goes three seconds after the rest began
		awaitTunnel(l, edge1, edge2, "resting", "ipsec")
		awaitTunnel(l, edge2, edge1, "resting", "ipsec")
		time.Sleep(phase)
		ping := db.Pings(web.IP)
		awaitTunnel(l, edge1, edge2, "up", "ipsec")
		awaitTunnel(l, edge2, edge1, "up", "ipsec")
		report := ping.Loses(0)
		t.Logf("%s after both ends rest: %d of %d pings are lost", phase, len(report.Lost), report.Sent)
	}
	report := toCloud.Loses(0)
	t.Logf("%d of %d seldom pings are lost", len(report.Lost), report.Sent)
	awaitTunnel(l, edge1, cloud, "up", "ipsec")
	awaitTunnel(l, cloud, edge1, "up", "ipsec")
}
