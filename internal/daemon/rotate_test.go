package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/internal/config"
	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard"
)

// Keys of either half.
var (
	lowerKey1, lowerKey2 = ownedKey(false), ownedKey(false)
	upperKey1, upperKey2 = ownedKey(true), ownedKey(true)
)

// goingOver is a node that has announced a next key.
func goingOver(t *testing.T, id mesh.NodeID, prefix string, key, next tunnel.PublicKey) mesh.Node {
	t.Helper()
	n := announcing(t, id, prefix, key)
	payload, err := proto.Marshal(&records.Announcement{Wireguard: &records.WireGuard{
		PublicKey: key[:], NextPublicKey: next[:], Port: 51820, Proof: proofOf(t, key, id), NextProof: proofOf(t, next, id),
	}})
	if err != nil {
		t.Fatal(err)
	}
	n.Announcement = payload
	return n
}

func holding(peers ...tunnel.Peer) *tunnels {
	c := &carrier{technology: tunnel.WireGuard, key: upperKey2, next: tunnel.PublicKey{8}}
	have := map[tunnel.PublicKey]tunnel.PeerStatus{}
	for _, p := range peers {
		have[p.PublicKey] = tunnel.PeerStatus{Peer: p}
	}
	c.take(have)
	return &tunnels{links: []config.Underlay{{Addr: netip.MustParseAddr("198.18.0.2")}}, carriers: []*carrier{c}, log: slog.New(slog.DiscardHandler)}
}

const honestPrefix, thiefPrefix = "fd00:1:1111::/64", "fd00:1:2222::/64"

// A node that says that another's key is its next one gets nothing by it, and takes
// nothing.
func TestANextKeyOfAnothersGetsNothing(t *testing.T) {
	own := tunnel.Peer{PublicKey: lowerKey1, Prefix: netip.MustParsePrefix(honestPrefix)}
	theirs := tunnel.Peer{PublicKey: lowerKey2, Prefix: netip.MustParsePrefix(thiefPrefix)}
	half := tunnel.Peer{PublicKey: lowerKey1, Prefix: tunnel.Half(own.Prefix, false)}
	next := tunnel.Peer{PublicKey: upperKey1, Prefix: own.Prefix}
	for name, c := range map[string]struct {
		have          []tunnel.Peer
		honest, thief mesh.Node
		wantNext      bool // of the honest one
	}{
		"its current key": {
			[]tunnel.Peer{own, theirs},
			announcing(t, here, honestPrefix, upperKey1), goingOver(t, there, thiefPrefix, lowerKey2, upperKey1), false,
		},
		"its next key, as next": {
			[]tunnel.Peer{half, next, theirs},
			goingOver(t, here, honestPrefix, lowerKey1, upperKey1), goingOver(t, there, thiefPrefix, lowerKey2, upperKey1), true,
		},
		"its next key, as current": {
			[]tunnel.Peer{half, next, theirs},
			goingOver(t, here, honestPrefix, lowerKey1, upperKey1), announcing(t, there, thiefPrefix, upperKey1), true,
		},
	} {
		for _, nodes := range [][]mesh.Node{{c.honest, c.thief}, {c.thief, c.honest}} {
			want, err := holding(c.have...).wantPeers(nodes, choose(t, nodes))
			if got := want[here]; got.PublicKey != upperKey1 || (got.Former.PublicKey == lowerKey1) != c.wantNext {
				t.Errorf("%s: the honest node is %+v", name, got)
			}
			if got, there := want[there]; there && (got.PublicKey != lowerKey2 || got.Former != tunnel.Former{}) {
				t.Errorf("%s: the thief is %+v", name, got)
			}
			if err == nil {
				t.Errorf("%s: it is not said", name)
			}
		}
	}
	// This node's own keys are nobody's next ones.
	nodes := []mesh.Node{goingOver(t, there, thiefPrefix, lowerKey2, upperKey2)}
	want, err := holding(theirs).wantPeers(nodes, choose(t, nodes))
	if !errors.Is(err, errOwnKey) || want[there].PublicKey != lowerKey2 || want[there].Former != (tunnel.Former{}) {
		t.Errorf("got %+v, %v for a node that announces this node's key", want, err)
	}
}

// What a peer that goes over is, and what packets to it go by, at each step.
func TestPeersFollowTheirNodesKey(t *testing.T) {
	prefix := netip.MustParsePrefix(honestPrefix)
	old := tunnel.PeerStatus{Peer: tunnel.Peer{PublicKey: lowerKey1, Prefix: tunnel.Half(prefix, false)}, RxBytes: 10, LastHandshake: time.Unix(50, 0), Live: true}
	unmet := tunnel.PeerStatus{Peer: tunnel.Peer{PublicKey: upperKey1, Prefix: prefix}}
	met := unmet
	met.LastHandshake, met.RxBytes = time.Unix(100, 0), 5
	before, during, after := announcing(t, here, honestPrefix, lowerKey1), goingOver(t, here, honestPrefix, lowerKey1, upperKey1), announcing(t, here, honestPrefix, upperKey1)
	for name, c := range map[string]struct {
		node  mesh.Node
		have  []tunnel.PeerStatus
		sends tunnel.PublicKey
		rx    uint64
	}{
		"before":                    {before, []tunnel.PeerStatus{{Peer: tunnel.Peer{PublicKey: lowerKey1, Prefix: prefix}, RxBytes: 7}}, lowerKey1, 7},
		"it has announced the next": {during, []tunnel.PeerStatus{old, unmet}, lowerKey1, 10},
		"it was met with the next":  {during, []tunnel.PeerStatus{old, met}, upperKey1, 15},
		"it says that it has it":    {after, []tunnel.PeerStatus{old, unmet}, lowerKey1, 10},
		"the former was silent":     {after, []tunnel.PeerStatus{unmet}, upperKey1, 0},
		"the former is gone":        {after, []tunnel.PeerStatus{met}, upperKey1, 5},
	} {
		tun := holding()
		have := map[tunnel.PublicKey]tunnel.PeerStatus{}
		for _, p := range c.have {
			have[p.PublicKey] = p
		}
		tun.carriers[0].take(have)
		tun.nodes = []mesh.Node{c.node}
		keys := tun.keysOf()
		if got := keys[here].sends; got != c.sends {
			t.Errorf("%s: packets go by %v, want %v", name, got[0], c.sends[0])
		}
		if p := tun.carriers[0].peers[prefix]; p.RxBytes != c.rx {
			t.Errorf("%s: %d bytes came, want %d", name, p.RxBytes, c.rx)
		}
		// Nothing may be sent by a key that packets do not go by yet.
		want, err := tun.wantPeers(tun.nodes, choose(t, tun.nodes))
		if p := want[here]; err != nil || (p.Keepalive == 0) != (p.PublicKey != c.sends) {
			t.Errorf("%s: it is put as %+v, %v", name, p, err)
		}
	}
}

// deleting is a driver that notes what is deleted.
type deleting struct {
	tunnel.Driver

	keys []tunnel.PublicKey
}

func (d *deleting) Name() string { return "deleting" }

func (d *deleting) Delete(_ context.Context, key tunnel.PublicKey) error {
	d.keys = append(d.keys, key)
	return nil
}

// A former key stays until nothing has come by it for a while, but goes at once
// if its node goes over to yet another one, or has gone.
func TestFormerKeysAreTakenAway(t *testing.T) {
	prefix := netip.MustParsePrefix(honestPrefix)
	old := tunnel.Peer{PublicKey: lowerKey1, Prefix: tunnel.Half(prefix, false)}
	now := tunnel.Peer{PublicKey: upperKey1, Prefix: prefix}
	for name, c := range map[string]struct {
		nodes []mesh.Node
		after time.Duration // when it has gone; negative is never
	}{
		"its node still has it":        {[]mesh.Node{goingOver(t, here, honestPrefix, lowerKey1, upperKey1)}, -1},
		"its node has the other":       {[]mesh.Node{announcing(t, here, honestPrefix, upperKey1)}, formerSilence},
		"its node goes over once more": {[]mesh.Node{goingOver(t, here, honestPrefix, upperKey1, lowerKey2)}, 0},
		"its node has gone":            {nil, 0},
	} {
		tun, driver := holding(old, now), &deleting{}
		tun.carriers[0].driver, tun.nodes = driver, c.nodes
		begin := time.Unix(1000, 0)
		for _, at := range []time.Duration{0, formerSilence - 1, formerSilence, time.Hour} {
			if err := tun.dropFormers(t.Context(), begin.Add(at), choose(t, c.nodes)); err != nil {
				t.Fatal(err)
			}
			if gone := len(driver.keys) > 0; gone != (c.after >= 0 && at >= c.after) {
				t.Errorf("%s: after %s gone is %t", name, at, gone)
			}
		}
		if len(driver.keys) > 0 && driver.keys[0] != lowerKey1 {
			t.Errorf("%s: %v is deleted", name, driver.keys)
		}
	}
}

// Of two nodes that replace their keys at once one goes first, whoever asks when.
func TestTwoRotationsTakeTurns(t *testing.T) {
	known := answer{known: true, used: false}
	now := time.Now()
	side := func(id mesh.NodeID) *rotation {
		return &rotation{self: id, promised: map[mesh.NodeID]time.Time{}}
	}
	a, b := side("a"), side("b")
	// Both have been told yes before either has begun: neither may change.
	if !a.letGo("b", known, false, now).known || !b.letGo("a", known, false, now).known {
		t.Fatal("nodes that replace nothing refuse")
	}
	a.turn, b.turn = asking, asking
	if a.takeTurn(now) || b.takeTurn(now) {
		t.Error("a node that let another one go first changes")
	}
	// They ask again: b is told to wait, a is not.
	if got := a.letGo("b", known, false, now); got.known || !got.busy {
		t.Errorf("a says %+v to b", got)
	}
	if got := b.letGo("a", known, false, now); !got.known || got.busy {
		t.Errorf("b says %+v to a", got)
	}
	if !a.takeTurn(now) || b.takeTurn(now) {
		t.Error("not a alone changes")
	}
	if got := a.letGo("b", known, false, now); !got.busy {
		t.Errorf("a says %+v to b while it changes", got)
	}
	// a has changed, and b uses its key.
	b.letGo("a", answer{known: true, used: true}, true, now)
	a.turn = idle
	if !a.letGo("b", known, false, now).known || !b.takeTurn(now) {
		t.Error("b does not get its turn")
	}
	// One that was let go first and is not heard of again holds nobody up.
	c := side("c")
	c.letGo("a", known, false, now.Add(-rotateWait))
	if c.turn = asking; !c.takeTurn(now) {
		t.Error("a node that does not ask any more holds another up")
	}
	// One that asks for ever holds up others for a while.
	c.turn = idle
	c.letGo("a", known, false, now)
	if c.takeTurn(now) || !c.takeTurn(now.Add(-rotateTurns)) {
		t.Error("a node that asks again and again does not hold another up for as long as is right")
	}
}

func TestKeysExpireByAgeAndApart(t *testing.T) {
	seen := map[time.Time]bool{}
	for range 20 {
		keys, err := wireguard.OpenKeys(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		r := &rotation{keys: keys, lifetime: 100 * time.Hour}
		at := r.expires()
		if age := at.Sub(keys.Since()); age > 100*time.Hour || age < 90*time.Hour {
			t.Errorf("it expires after %s", age)
		}
		seen[at] = true
		if r.lifetime = 0; !r.expires().IsZero() {
			t.Error("a key without a lifetime expires")
		}
	}
	if len(seen) < 10 {
		t.Errorf("20 keys expire at %d times", len(seen))
	}
}
