package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/probe"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// healthy are the facts of a tunnel that is up.
func healthy() facts {
	return facts{
		node:   mesh.Node{ID: there, Name: "edge-1"},
		looked: true,
		choice: choice{Choice: tunnel.Choice{Technology: tunnel.WireGuard, Local: "wireguard-kernel", Why: "the fastest"}},
		peer: &peerState{
			PeerStatus: tunnel.PeerStatus{
				Peer: tunnel.Peer{Endpoint: netip.MustParseAddrPort("198.18.0.2:51820")},
				Live: true, LastHandshake: noon.Add(-time.Minute),
			},
			technology: tunnel.WireGuard, driver: "wireguard-kernel", size: pathSize{mtu: 1440, basis: probe.Confirmed},
		},
	}
}

// told are the events of a tunnel whose facts are changed, one after the other, two
// seconds apart.
func told(changes ...func(*facts)) []string {
	var out []string
	f := healthy()
	at := noon
	before := map[mesh.NodeID]seenTunnel{there: look(at, f, seenTunnel{})}
	for _, change := range changes {
		at = at.Add(resync)
		if f.peer != nil { // what was looked at stays as it was
			peer := *f.peer
			f.peer = &peer
		}
		change(&f)
		after := map[mesh.NodeID]seenTunnel{there: look(at, f, before[there])}
		for _, e := range tunnelEvents(at, before, after) {
			out = append(out, fmt.Sprintf("%s [%s|%s] %s", e.kind, e.was, e.is, e.why))
		}
		before = after
	}
	return out
}

func TestWhatChangesIsTold(t *testing.T) {
	silent := func(f *facts) { f.stats.SilentSince = noon }
	heard := func(f *facts) { f.stats.SilentSince = time.Time{} }
	keys := func(after time.Duration) func(*facts) {
		return func(f *facts) { f.peer.Live, f.peer.LastHandshake = true, noon.Add(after) }
	}
	keyless := func(f *facts) { f.peer.Live, f.peer.LastHandshake = false, time.Time{} }
	same := func(*facts) {}
	for name, c := range map[string]struct {
		changes []func(*facts)
		want    []string
	}{
		"nothing": {[]func(*facts){same, same}, nil},
		"a peer that dies and returns": {
			[]func(*facts){silent, same, heard},
			[]string{
				"problem [|no-answer] does not answer in the tunnel since 2026-05-04T12:00:00Z",
				"down [up|down] does not answer in the tunnel since 2026-05-04T12:00:00Z",
				"problem-over [no-answer|] does not answer in the tunnel since 2026-05-04T12:00:00Z",
				"up [down|up] the fastest",
			},
		},
		"new keys": {
			[]func(*facts){keys(time.Second), same, keys(2 * time.Second)},
			[]string{
				"rekeyed [2026-05-04T11:59:00.000Z|2026-05-04T12:00:01.000Z] ",
				"rekeyed [2026-05-04T12:00:01.000Z|2026-05-04T12:00:02.000Z] ",
			},
		},
		"a session that ends, and another": {
			[]func(*facts){keyless, same, same, same, same, same, keys(13 * time.Second)},
			[]string{
				"down [up|connecting] it has no keys",
				"problem [|no-session] has agreed on no keys since 2026-05-04T12:00:02Z",
				"rekeyed [2026-05-04T11:59:00.000Z|2026-05-04T12:00:13.000Z] ",
				"problem-over [no-session|] has agreed on no keys since 2026-05-04T12:00:02Z",
				"up [connecting|up] the fastest",
			},
		},
		"a session that ends while the peer does not answer": {
			[]func(*facts){keyless, silent},
			[]string{
				"down [up|connecting] it has no keys",
				"problem [|no-answer] does not answer in the tunnel since 2026-05-04T12:00:00Z",
				"state [connecting|down] does not answer in the tunnel since 2026-05-04T12:00:00Z",
			},
		},
		"keys that are too old": {
			[]func(*facts){func(f *facts) { f.peer.Live = false }, same, same, same, same, same},
			[]string{
				"down [up|connecting] it has no keys",
				"problem [|no-session] the last keys are of 2026-05-04T11:59:00Z, which is too long ago to use them",
			},
		},
		"a peer that refuses": {
			[]func(*facts){
				func(f *facts) { keyless(f); f.refused = "the peer answers NO" },
				func(f *facts) { f.refused = "the peer answers NEVER" }, same,
				func(f *facts) { f.refused = ""; keys(time.Minute)(f) },
			},
			[]string{
				"problem [|refused] the peer answers NO", "down [up|connecting] the peer answers NO",
				"problem [|refused] the peer answers NEVER",
				"rekeyed [2026-05-04T11:59:00.000Z|2026-05-04T12:01:00.000Z] ",
				"problem-over [refused|] the peer answers NEVER", "up [connecting|up] the fastest",
			},
		},
		"a move to another technology": {
			[]func(*facts){
				func(f *facts) { f.choice.Technology, f.choice.Why = tunnel.IPsec, "tunnel policy any: ipsec" },
				func(f *facts) {
					f.peer.technology, f.peer.driver, f.peer.LastHandshake = tunnel.IPsec, "ipsec-kernel", noon
				},
			},
			[]string{"moved [wireguard-kernel|ipsec-kernel] tunnel policy any: ipsec"},
		},
		"an address that is another": {
			[]func(*facts){func(f *facts) { f.peer.Endpoint = netip.MustParseAddrPort("198.18.0.9:40000") }},
			[]string{"endpoint [198.18.0.2:51820|198.18.0.9:40000] "},
		},
		"a path that shrinks": {
			[]func(*facts){
				func(f *facts) { f.peer.size = pathSize{mtu: 1216, basis: probe.Searching} },
				func(f *facts) { f.peer.size = pathSize{mtu: 1328, basis: probe.Confirmed} },
				func(f *facts) { f.peer.size = pathSize{mtu: 1200, basis: probe.Narrow} },
			},
			[]string{
				"mtu [1440 B, confirmed|1328 B, confirmed] ",
				"mtu [1328 B, confirmed|1200 B, too narrow] ",
				"problem [|too-narrow] packets of 1200 bytes do not get through, though smaller ones do",
			},
		},
		"a policy that cannot be fulfilled": {
			[]func(*facts){func(f *facts) {
				f.choice.err = errors.New("not possible")
				f.faults, f.peer = []nodeError{{kind: problemImpossible, err: f.choice.err}}, nil
			}},
			[]string{"problem [|impossible] not possible", "down [up|down] not possible"},
		},
		"a tunnel that rests and wakes": {
			[]func(*facts){
				func(f *facts) { f.peer.rest = rest{since: noon} },
				func(f *facts) { f.peer.rest = rest{} },
			},
			[]string{"state [up|resting] the fastest", "up [resting|up] the fastest"},
		},
		"a tunnel that is not needed any more": {
			[]func(*facts){func(f *facts) { f.choice.err, f.peer = errUnneeded, nil }},
			[]string{"state [up|not needed] no VPC in common"},
		},
	} {
		if got := told(c.changes...); !slices.Equal(got, c.want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

func TestNodesThatComeAndGoAreTold(t *testing.T) {
	a, b := seenTunnel{name: "a", state: tunnelUp, why: "the fastest"}, seenTunnel{name: "b", state: tunnelDown}
	events := tunnelEvents(noon, map[mesh.NodeID]seenTunnel{"1": b}, map[mesh.NodeID]seenTunnel{"2": a})
	want := []tunnelEvent{
		{at: noon, kind: tunnelAdded, node: "a", id: "2", is: tunnelUp, why: "the fastest"},
		{at: noon, kind: tunnelRemoved, node: "b", id: "1", was: tunnelDown},
	}
	if !slices.Equal(events, want) {
		t.Errorf("got %+v, want %+v", events, want)
	}
}

// A problem keeps the time at which it began, and a state too.
func TestSinceWhenItIsSo(t *testing.T) {
	f := healthy()
	first := look(noon, f, seenTunnel{})
	f.stats.SilentSince = noon.Add(time.Second)
	second := look(noon.Add(6*time.Second), f, first)
	third := look(noon.Add(time.Hour), f, second)
	if second.since != noon.Add(6*time.Second) || third.since != second.since {
		t.Errorf("down since %s, then since %s", second.since, third.since)
	}
	if len(third.problems) != 1 || third.problems[0].since != f.stats.SilentSince {
		t.Errorf("the problems are %+v", third.problems)
	}
}

// What went wrong with a node is found however deep errors are joined.
func TestFaultsAreFoundByNode(t *testing.T) {
	a, b := mesh.Node{ID: "1", Name: "a"}, mesh.Node{ID: "2", Name: "b"}
	err := errors.Join(
		errors.New("all of it"),
		errors.Join(about(a, problemKey, errors.New("x")), fmt.Errorf("put: %w", about(b, problemDriver, errors.New("y")))),
		about(a, problemNotMoved, errors.New("z")),
	)
	got := faultsOf(err)
	if len(got) != 2 || len(got["1"]) != 2 || got["1"][1].kind != problemNotMoved || len(got["2"]) != 1 || got["2"][0].kind != problemDriver {
		t.Errorf("got %+v", got)
	}
	if !strings.Contains(err.Error(), "node a: x\n") {
		t.Errorf("the words are %q", err)
	}
	if len(faultsOf(nil)) != 0 {
		t.Error("there are faults of nothing")
	}
}
