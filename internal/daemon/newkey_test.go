package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
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

func (k *keyedDevice) Up(_ context.Context, want tunnel.Device) (tunnel.Device, error) {
	return want, nil
}

func (k *keyedDevice) Peers(context.Context) (map[tunnel.PublicKey]tunnel.PeerStatus, error) {
	return nil, nil
}

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

// A call that gives the device the next key may be given up and do so later. The
// datapath then follows the device, which the next round leaves as it is, and the
// rotation goes on when it is tried again.
func TestADeviceThatGetsItsKeyLateKeepsIt(t *testing.T) {
	keys, err := wireguard.OpenKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Prepare(time.Now()); err != nil {
		t.Fatal(err)
	}
	has := keys.Current().Public()
	driver := &keyedDevice{has: &has, broken: errors.New("it does not answer")}
	c := &carrier{technology: tunnel.WireGuard, driver: driver}
	var uses []bool
	r := &rotation{
		keys: keys, log: slog.New(slog.DiscardHandler), useHalf: func(upper bool) { uses = append(uses, upper) },
		tunnels: &tunnels{carriers: []*carrier{c}},
	}
	if _, err := r.change(t.Context()); err == nil {
		t.Fatal("a device that does not answer has another key")
	}
	round := func() {
		t.Helper()
		if err := c.bringUp(t.Context(), tunnel.Device{Name: "w"}); err != nil {
			t.Fatal(err)
		}
	}
	if round(); len(uses) != 0 || c.unsure == nil {
		t.Errorf("packets are marked %v, or nobody wonders, before the device has answered", uses)
	}
	has, driver.broken = keys.NextPublic(), nil // what was asked of it, late
	if round(); len(uses) != 1 || uses[0] != has.Upper() || len(driver.gave) != 1 || driver.gave[0] != has {
		t.Errorf("packets are marked %v, and the driver was given %v; the device has %v", uses, driver.gave, has)
	}
	if round(); len(uses) != 1 || len(driver.gave) != 1 {
		t.Error("what is known is asked again")
	}
	if keys.NextPublic() != has {
		t.Error("the files have another key: what was begun is not ended in order")
	}
}

// Before the change a round has gone by that began when no tunnel might rest any
// more; the one before, or one that came to nothing, has woken none.
func TestAChangeWaitsForTunnelsToBeAwake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tun := &tunnels{state: tunnelState{round: 7}}
		r := &rotation{tunnels: tun}
		awake := make(chan error, 1)
		go func() { awake <- r.awaitAwake(t.Context(), 7) }()
		for _, state := range []tunnelState{{round: 7}, {round: 8, stale: true}} {
			tun.replace(state)
			time.Sleep(time.Second)
			select {
			case err := <-awake:
				t.Fatalf("after %+v it is said that tunnels are awake: %v", state, err)
			default:
			}
		}
		tun.replace(tunnelState{round: 9})
		if err := <-awake; err != nil {
			t.Error(err)
		}
		began := time.Now()
		if err := r.awaitAwake(t.Context(), 9); err == nil || time.Since(began) > rotateWait+time.Second {
			t.Errorf("without a round: %v after %s", err, time.Since(began))
		}
	})
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
