package netns

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/test/netns/lab"
)

// shownTunnel is what programs read of edgenetctl tunnel show.
type shownTunnel struct {
	Technology string
	Tunnel     struct {
		Driver, State, Cipher       string
		RTTMs                       float64
		Rekeys                      uint64
		Mtu, PathMtu                int
		Probes, ProbesLost          int
		LastHandshake, SessionSince time.Time
		LastAnswer                  time.Time
		Problems                    []struct{ Kind, Message string }
	}
}

func show(host, to *lab.Host) shownTunnel {
	var out shownTunnel
	host.CtlJSON(&out, "tunnel", "show", to.Name)
	return out
}

// Whatever happens to a tunnel is told as it happens, and is in what is shown, with
// either technology.
//
//	cloud-1: tunnel watch, tunnel show ══ edge-1: dies, returns, moves, refuses
func TestWhatHappensToATunnelIsSeen(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("cloud-1", "edge-1")
	cloud, edge := hosts[0], hosts[1]
	l.AwaitMesh(hosts...)
	s := &sight{t: t, l: l, cloud: cloud, edge: edge, watch: cloud.WatchesTunnel(edge)}
	s.watch.Tells("present", "up")
	s.watch.Tells("synced", "")

	if lab.Uses("wireguard") {
		cloud.MustCtl("tunnel", "policy", "set", "any", "wireguard") // whatever was chosen first
		awaitTechnology(l, cloud, edge, "wireguard")
		s.showsHealth("chacha20-poly1305")
		if len(edge.TunnelPIDs()) > 0 {
			s.rekeys(edge.KillTunnels)
		}
		s.diesAndReturns()
	}
	if lab.Uses("ipsec") {
		cloud.MustCtl("tunnel", "policy", "set", "any", "ipsec")
		if lab.Uses("wireguard") {
			s.watch.Tells("moved", "| ipsec-")
		}
		awaitTechnology(l, cloud, edge, "ipsec")
		awaitTechnology(l, edge, cloud, "ipsec")
		s.showsHealth("aes-256-gcm")
		s.rekeys(func() { s.swanctl(edge, "--rekey", "--child", s.child(edge)) })
		s.narrows()
		s.refuses()
		s.diesAndReturns()
	}
	cloud.MustCtl("tunnel", "list") // for people, too
}

// sight is the one host's view of the tunnel to the other.
type sight struct {
	t           *testing.T
	l           *lab.Lab
	cloud, edge *lab.Host
	watch       *lab.TunnelWatch
}

func (s *sight) showsHealth(cipher string) {
	s.t.Helper()
	s.l.Await("all of the tunnel is known", func() error {
		one := show(s.cloud, s.edge)
		v := one.Tunnel
		if v.State != "up" || v.Cipher != cipher || v.RTTMs <= 0 || v.Probes == 0 || v.PathMtu == 0 || v.LastHandshake.IsZero() ||
			v.SessionSince.IsZero() || time.Since(v.LastAnswer) > time.Minute || len(v.Problems) > 0 {
			return fmt.Errorf("%+v", one)
		}
		return nil
	})
}

// rekeys has keys replaced.
func (s *sight) rekeys(how func()) {
	s.t.Helper()
	before := show(s.cloud, s.edge).Tunnel.Rekeys
	s.watch.FromNow()
	how()
	e := s.watch.Tells("rekeyed", "")
	if one := show(s.cloud, s.edge); e.Was == e.Is || one.Tunnel.Rekeys <= before {
		s.t.Errorf("told of keys of %s after those of %s; %d were replaced, now %+v", e.Is, e.Was, before, one)
	}
}

// diesAndReturns cuts the peer off, and plugs it in again.
func (s *sight) diesAndReturns() {
	s.t.Helper()
	s.watch.FromNow()
	cut := time.Now()
	s.edge.CutOff()
	s.watch.Tells("problem", "no-answer | does not answer in the tunnel since")
	down := s.watch.Tells("down", "does not answer in the tunnel since")
	one := show(s.cloud, s.edge)
	if v := one.Tunnel; v.State != "down" || v.RTTMs != 0 || len(v.Problems) == 0 || v.Problems[0].Kind != "no-answer" {
		s.t.Errorf("a peer that is dead is shown as %+v", one)
	}
	plugged := time.Now()
	s.edge.PlugIn()
	up := s.watch.Tells("up", "")
	s.t.Logf("%s: down %s after the cut, up %s after the plug", one.Tunnel.Driver,
		down.Time.Sub(cut).Round(time.Millisecond), up.Time.Sub(plugged).Round(time.Millisecond))
	s.showsHealth(one.Tunnel.Cipher)
}

// narrows makes the link smaller, by which a tunnel's packets have to be, too.
func (s *sight) narrows() {
	s.t.Helper()
	before := show(s.cloud, s.edge).Tunnel.PathMtu
	s.watch.FromNow()
	s.cloud.SetMTU(1360)
	e := s.watch.Tells("mtu", "confirmed")
	if now := show(s.cloud, s.edge).Tunnel.PathMtu; now >= before {
		s.t.Errorf("the path's MTU was %d and is %d; told is from %q to %q", before, now, e.Was, e.Is)
	}
}

// refuses has the peer's charon forget who its peers are, and its daemon not mend
// that meanwhile.
func (s *sight) refuses() {
	s.t.Helper()
	other := filepath.Join(s.t.TempDir(), "swanctl.conf")
	text := "connections { other { version = 2\n proposals = aes256gcm16-prfsha384-x25519\n local { auth = pubkey\n id = \"@#00\" }\n" +
		" remote { auth = pubkey\n id = \"@#01\" } } }\n"
	if err := os.WriteFile(other, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	pid := s.edge.PID()
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = unix.Kill(pid, unix.SIGCONT) }()
	ike := s.ike(s.edge)
	s.watch.FromNow()
	s.swanctl(s.edge, "--load-conns", "--file", other)
	s.swanctl(s.edge, "--terminate", "--ike", ike, "--timeout", "2")
	s.watch.Tells("problem", "refused | the peer answers AUTHENTICATION_FAILED: ")
	if one := show(s.cloud, s.edge); one.Tunnel.State == "up" || !strings.HasPrefix(one.problem("refused"), "the peer answers AUTHENTICATION_FAILED") {
		s.t.Errorf("a tunnel that is refused is shown as %+v", one)
	}
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		s.t.Fatal(err)
	}
	s.watch.Tells("problem-over", "refused")
	s.watch.Tells("up", "")
	s.showsHealth("aes-256-gcm")
}

func (one shownTunnel) problem(kind string) string {
	for _, p := range one.Tunnel.Problems {
		if p.Kind == kind {
			return p.Message
		}
	}
	return ""
}

// swanctl talks to the charon of a host's daemon, as its operator could.
func (s *sight) swanctl(host *lab.Host, args ...string) string {
	s.t.Helper()
	sockets, err := filepath.Glob(filepath.Join(host.RunDir(), "ipsec-*", "charon.vici"))
	if err != nil || len(sockets) != 1 {
		s.t.Fatalf("%s has the control sockets %q of charon: %v", host, sockets, err)
	}
	out, err := exec.CommandContext(s.t.Context(), "swanctl", append(args, "--uri", "unix://"+sockets[0])...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("swanctl %s on %s: %v\n%s", strings.Join(args, " "), host, err, out)
	}
	return string(out)
}

var (
	ikeName   = regexp.MustCompile(`(?m)^([0-9a-f]{64}):`)
	childName = regexp.MustCompile(`(?m)^ +(p[0-9]+-r[0-9]+-[0-9a-f]+):`)
)

func (s *sight) ike(host *lab.Host) string { return s.named(host, ikeName) }

func (s *sight) child(host *lab.Host) string { return s.named(host, childName) }

func (s *sight) named(host *lab.Host, what *regexp.Regexp) string {
	s.t.Helper()
	list := s.swanctl(host, "--list-sas")
	found := what.FindStringSubmatch(list)
	if found == nil {
		s.t.Fatalf("%s has no SA that is named as ours are:\n%s", host, list)
	}
	return found[1]
}
