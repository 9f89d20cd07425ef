package netns

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"edgenet.dev/edgenet/test/netns/lab"
)

// rotation is what programs read of edgenetctl tunnel rotate.
type rotation struct {
	Key struct {
		PublicKey string `json:"publicKey"`
		Rotation  string
	}
	Silent, Problems []string
	GapMs            float64 `json:"gapMs"`
	IkeSas           uint32  `json:"ikeSas"`
}

// rotate replaces the tunnel keys of hosts at the same time.
func rotate(t *testing.T, hosts ...*lab.Host) []rotation {
	t.Helper()
	out := make([]rotation, len(hosts))
	var tasks sync.WaitGroup
	for i, host := range hosts {
		tasks.Go(func() { host.CtlJSON(&out[i], "tunnel", "rotate") })
	}
	tasks.Wait()
	for i, r := range out {
		if len(r.Silent) > 0 || len(r.Problems) > 0 || r.Key.Rotation != "" {
			t.Errorf("rotation on %s: %+v", hosts[i], r)
		}
	}
	return out
}

// A node's tunnel keys are replaced, by command, on two at once and by age, while
// tenants talk. Nothing is lost with WireGuard in userspace; with the kernel's it is
// what is sent between two calls: the device has the new key, and packets say the old
// one.
//
//	edge-1: blue-web ══ 10 ms pings, a connection ══ edge-2: blue-db       cloud-1
//
// Two nodes that replace their keys at once take turns, and what IPsec has are new
// keys of the SAs: while they are replaced userspace IPsec loses what is sent in a
// millisecond.
func TestReplacedTunnelKeysLoseNothing(t *testing.T) {
	t.Parallel()
	l := lab.NewTimed(t)
	hosts, blue, _ := twoTenants(l)
	edge1, edge2 := hosts[1], hosts[2]
	blue.web.Reaches(blue.db, "icmp")
	blue.db.Reaches(blue.web, "icmp")
	if lab.Uses("wireguard") {
		rotatesWireGuard(t, blue, edge1, edge2)
	}
	if lab.Uses("ipsec") {
		hosts[0].MustCtl("tunnel", "policy", "set", "node:edge-1,node:edge-2", "ipsec")
		awaitTechnology(l, edge1, edge2, "ipsec")
		awaitTechnology(l, edge2, edge1, "ipsec")
		rotatesIPsec(t, blue, edge1, edge2)
	}
}

func rotatesWireGuard(t *testing.T, blue tenant, edge1, edge2 *lab.Host) {
	t.Helper()
	keys := map[string]bool{}
	for _, at := range [][]*lab.Host{{edge1}, {edge1}, {edge1}, {edge1}, {edge1}, {edge2}, {edge1, edge2}, {edge1, edge2}} {
		underTraffic(t, blue, func() (gaps []time.Duration) {
			for _, r := range rotate(t, at...) {
				if keys[r.Key.PublicKey] {
					t.Errorf("the key is one that was there before: %+v", r)
				}
				keys[r.Key.PublicKey] = true
				t.Logf("WireGuard on %v: %.3f ms between the two calls", at, r.GapMs)
				gaps = append(gaps, lossy(time.Duration(r.GapMs*float64(time.Millisecond)))...)
			}
			return gaps
		})
	}
}

func rotatesIPsec(t *testing.T, blue tenant, edge1, edge2 *lab.Host) {
	t.Helper()
	for _, at := range [][]*lab.Host{{edge1}, {edge2}, {edge1, edge2}} {
		underTraffic(t, blue, func() (gaps []time.Duration) {
			for i, r := range rotate(t, at...) {
				if r.IkeSas == 0 {
					t.Errorf("on %s no IKE SA has new keys: %+v", at[i], r)
				}
				t.Logf("IPsec on %s: %d IKE SAs have new keys", at[i], r.IkeSas)
				gaps = append(gaps, time.Millisecond)
			}
			return gaps
		})
	}
}

// lossy is a time in which packets are lost, if it is one.
func lossy(gap time.Duration) []time.Duration {
	if gap == 0 {
		return nil
	}
	return []time.Duration{gap}
}

// underTraffic does something while tenants talk, which says in what times packets
// may be lost by it.
func underTraffic(t *testing.T, blue tenant, do func() (gaps []time.Duration)) {
	t.Helper()
	traffic := run(blue.web, blue.db)
	traffic.flow.Runs()
	traffic.noticedOnly(t, "keys replaced", do()...)
}

// tunnelKey is what a host says about its key.
func tunnelKey(host *lab.Host) (public, rotation string) {
	var status struct {
		TunnelKey struct {
			PublicKey string `json:"publicKey"`
			Rotation  string
		} `json:"tunnelKey"`
	}
	host.CtlJSON(&status, "status")
	return status.TunnelKey.PublicKey, status.TunnelKey.Rotation
}

// awaitRotated waits until a host has another key than before, and is done with it.
func awaitRotated(l *lab.Lab, host *lab.Host, before string) {
	l.Await(host.Name+" has another key", func() error {
		if now, goesOn := tunnelKey(host); now == before || goesOn != "" {
			return fmt.Errorf("key %s, before %s; goes on: %s", now, before, goesOn)
		}
		return nil
	})
}

// A daemon is killed while it replaces its key, at one step after the other; the
// next one ends what it finds. A node that was cut off meanwhile works when it is
// back, and a key that is old is replaced by itself.
//
//	edge-1: blue-web ══ 10 ms pings, a connection ══ edge-2: blue-db       cloud-1
func TestARotationSurvivesItsDaemon(t *testing.T) {
	t.Parallel()
	lab.NeedsTechnology(t, "wireguard")
	l := lab.NewTimed(t)
	hosts, blue, _ := twoTenants(l)
	edge1, edge2 := hosts[1], hosts[2]
	next, current := filepath.Join(edge1.StateDir(), "wireguard-next.key"), filepath.Join(edge1.StateDir(), "wireguard.key")
	blue.web.Reaches(blue.db, "icmp")
	peer, err := edge1.Node(edge2.Name)
	if err != nil {
		t.Fatal(err)
	}
	// With the kernel's what is sent is lost from the device's key to the datapath's, or
	// to the next daemon's.
	lossless := peer.GetTunnel().GetDriver() == "wireguard-userspace"
	for _, step := range []struct {
		when    string
		reached func(before []byte) bool
		wait    time.Duration
	}{
		{"it has a next key", func([]byte) bool { _, err := os.Stat(next); return err == nil }, 0},
		{"it asks its peers", func([]byte) bool { _, err := os.Stat(next); return err == nil }, 20 * time.Millisecond},
		{"its file has the new key", func(before []byte) bool { return !bytes.Equal(contents(t, current), before) }, 0},
		{"its device has it", func(before []byte) bool { return !bytes.Equal(contents(t, current), before) }, 20 * time.Millisecond},
	} {
		before, file := mustKey(edge1), contents(t, current)
		traffic := run(blue.web, blue.db)
		traffic.flow.Runs()
		var task sync.WaitGroup
		task.Go(func() { edge1.Ctl("tunnel", "rotate") }) // fails, or not
		l.Await(step.when, func() error {
			if !step.reached(file) {
				return errors.New("it has not come to that")
			}
			return nil
		})
		time.Sleep(step.wait) // steps in between can not be seen
		edge1.Kill()
		task.Wait()
		edge1.Start()
		l.AwaitMesh(hosts...)
		awaitRotated(l, edge1, before)
		blue.web.Reaches(blue.db, "icmp")
		traffic.flow.Runs()
		for _, ping := range traffic.pings {
			report := ping.Stop()
			t.Logf("killed when %s: %d of %d pings lost", step.when, len(report.Lost), report.Sent)
			if lossless && len(report.Lost) > 0 {
				t.Errorf("killed when %s: %d pings were lost, of %d", step.when, len(report.Lost), report.Sent)
			}
		}
		if status := traffic.flow.Stop(); status.Ended != "" {
			t.Errorf("killed when %s: the flow ended: %s", step.when, status.Ended)
		}
	}

	edge2.CutOff()
	before := mustKey(edge1)
	edge1.MustCtl("tunnel", "rotate")
	edge2.PlugIn()
	l.AwaitMesh(hosts...)
	awaitRotated(l, edge1, before)
	blue.web.Reaches(blue.db, "icmp")
	blue.db.Reaches(blue.web, "icmp")

	underTraffic(t, blue, func() []time.Duration { return lossy(ages(t, l, hosts, edge2)) })
}

// ages has a host replace its key for its age, once, and returns how long packets
// of the one key went by the other.
func ages(t *testing.T, l *lab.Lab, hosts []*lab.Host, host *lab.Host) time.Duration {
	t.Helper()
	before, said := mustKey(host), len(host.Log())
	host.Stop()
	// Without notes a key is as old as its file.
	old := time.Now().Add(-2 * time.Hour)
	if err := errors.Join(
		os.Remove(filepath.Join(host.StateDir(), "wireguard-made.json")),
		os.Chtimes(filepath.Join(host.StateDir(), "wireguard.key"), old, old),
	); err != nil {
		t.Fatal(err)
	}
	host.Flags["tunnel-key-lifetime"] = "1h"
	host.Start()
	l.AwaitMesh(hosts...)
	awaitRotated(l, host, before)
	replaced := regexp.MustCompile(`msg="tunnel key is replaced".* gap=(\S+)`).FindAllStringSubmatch(host.Log()[said:], -1)
	if len(replaced) != 1 {
		t.Fatalf("%s says %d times that its key is replaced", host, len(replaced))
	}
	gap, err := time.ParseDuration(replaced[0][1])
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("by age: %s between the two calls", gap)
	return gap
}

func mustKey(host *lab.Host) string {
	key, _ := tunnelKey(host)
	return key
}

func contents(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
