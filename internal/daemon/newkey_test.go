package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard"
)

// keyedDevice is a driver whose device has a key, which outlives it.
type keyedDevice struct {
	tunnel.Driver

	has    *tunnel.PublicKey
	gave   []tunnel.PublicKey
	broken error
}

func (k *keyedDevice) SetKey(_ context.Context, key wireguard.PrivateKey, then func()) error {
	if k.broken != nil {
		return k.broken
	}
	*k.has = key.Public()
	k.gave = append(k.gave, key.Public())
	then()
	return nil
}

func (k *keyedDevice) Key(context.Context) (tunnel.PublicKey, error) { return *k.has, k.broken }

func (k *keyedDevice) Greet(context.Context) error { return nil }

// A daemon may have died between giving the device the next key and noting it. The
// next one leaves the device as it is, and marks packets as those of the key that
// the device has: the one that the files call the current one was the one before.
func TestADeviceWithTheNextKeyKeepsIt(t *testing.T) {
	dir := t.TempDir()
	open := func() *wireguard.Keys {
		keys, err := wireguard.OpenKeys(dir)
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	first := open()
	if err := first.Prepare(time.Now()); err != nil {
		t.Fatal(err)
	}
	before, next := first.Current().Public(), first.NextPublic()
	for name, c := range map[string]struct {
		has    tunnel.PublicKey
		broken error
		marks  tunnel.PublicKey
		gave   int
	}{
		"it was changed":            {has: next, marks: next, gave: 1},
		"it was not changed":        {has: before, marks: before},
		"there is no device":        {marks: before},
		"it has another's":          {has: lowerKey2, marks: before},
		"what it has is not to see": {has: next, broken: errors.New("it does not answer"), marks: before},
	} {
		keys := open()
		driver := &keyedDevice{has: &c.has, broken: c.broken}
		r := &rotation{keys: keys, device: keys.Current().Public(), log: slog.New(slog.DiscardHandler)}
		r.adopt(t.Context(), &carrier{driver: driver})
		if r.device != c.marks || len(driver.gave) != c.gave {
			t.Errorf("%s: packets are those of %v, want %v; the driver was given %v", name, r.device, c.marks, driver.gave)
		}
		if keys.Current().Public() != before || keys.NextPublic() != next {
			t.Errorf("%s: the files have other keys: what was begun is not ended in order", name)
		}
	}
}

// While this node's key is replaced its tunnels are awake: a peer that rests would
// not be greeted by the new key, and could not send until it is.
func TestNoTunnelRestsWhileTheKeyIsReplaced(t *testing.T) {
	node := announcing(t, here, honestPrefix, lowerKey1)
	peer := tunnel.Peer{PublicKey: lowerKey1, Prefix: node.Prefix}
	tun := holding(peer)
	tun.idle, tun.lastUse = time.Minute, func(netip.Prefix) time.Time { return time.Time{} }
	tun.nodes, tun.ways = []mesh.Node{node}, map[mesh.NodeID]way{here: {on: tunnel.WireGuard}}
	status := tun.carriers[0].peers[node.Prefix]
	status.Live, status.Endpoint = true, netip.AddrPort{}
	tun.carriers[0].peers[node.Prefix] = status
	choices, want := choose(t, tun.nodes), map[mesh.NodeID]tunnel.Peer{here: peer}
	at := time.Unix(1_000_000, 0)
	for i, step := range []struct {
		after             time.Duration
		rotating, resting bool
	}{
		{0, false, false},
		{time.Minute, false, true},
		{2 * time.Minute, true, false},
		{time.Hour, true, false},
		{2 * time.Hour, false, true},
	} {
		tun.rotating = step.rotating
		tun.settleRests(at.Add(step.after), want, choices)
		if got := tun.rests[here].resting(); got != step.resting {
			t.Errorf("step %d, after %s: the tunnel rests: %t", i, step.after, got)
		}
	}
}

// A node that asks about its key hurries this one as long as a rotation takes, and
// as often as a node asks; one that asks for ever does not.
func TestQuestionsHurryForABoundedTime(t *testing.T) {
	r := &rotation{askers: map[mesh.NodeID]asker{}}
	begin := time.Unix(1_000_000, 0)
	count := func(from time.Time, span, pace time.Duration) (hurries int) {
		for at := time.Duration(0); at < span; at += pace {
			if r.hurries(here, from.Add(at)) {
				hurries++
			}
		}
		return hurries
	}
	if got := count(begin, 10*time.Second, rotateAsk); got != 40 {
		t.Errorf("of 40 questions in 10 s %d hurry", got)
	}
	flood := begin.Add(10 * time.Second)
	if got, most := count(flood, time.Second, time.Millisecond), int(2*time.Second/rotateAsk); got > most {
		t.Errorf("of 1000 questions in a second %d hurry, want at most %d", got, most)
	}
	if got := count(begin.Add(rotateTurns), 10*rotateTurns, rotateAsk); got != 0 {
		t.Errorf("%d questions of a node that asks for ever hurry", got)
	}
	if !r.hurries(there, begin.Add(rotateTurns)) {
		t.Error("another node's question does not hurry")
	}
	if later := begin.Add(12*rotateTurns + time.Second); !r.hurries(here, later) {
		t.Error("a node's question does not hurry after it has asked nothing for a while")
	}
	for i := range 1000 {
		r.hurries(mesh.NodeID(fmt.Sprint(i)), begin.Add(time.Duration(i)*rotateTurns))
	}
	if len(r.askers) > 3 {
		t.Errorf("%d nodes are remembered", len(r.askers))
	}
}
