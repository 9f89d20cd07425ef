package daemon

import (
	"errors"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard"
)

// owned are the private keys of ownedKey's.
var owned = map[tunnel.PublicKey]wireguard.PrivateKey{}

// ownedKey makes a key of one half.
func ownedKey(upper bool) tunnel.PublicKey {
	for {
		key, err := wireguard.GenerateKey()
		if err != nil {
			panic(err)
		}
		if public := key.Public(); public.Upper() == upper {
			owned[public] = key
			return public
		}
	}
}

// proofOf is what a node that has the key can say of it; nothing of one that nobody
// has.
func proofOf(t *testing.T, key tunnel.PublicKey, node mesh.NodeID) []byte {
	t.Helper()
	private, there := owned[key]
	if !there {
		return nil
	}
	text, err := private.Prove(string(node))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A node that announces the key of one that has no tunnel here yet gets none by it,
// whatever it shows: it does not stand in that one's way, when that is needed.
func TestAKeyWithoutProofIsNobodys(t *testing.T) {
	honest := announcing(t, here, honestPrefix, upperKey1)
	stolen := proofOf(t, upperKey1, here)
	foreign := proofOf(t, lowerKey2, there)
	for name, lie := range map[string]*records.WireGuard{
		"without a proof":            {PublicKey: upperKey1[:]},
		"with its owner's proof":     {PublicKey: upperKey1[:], Proof: stolen},
		"with a proof by its own":    {PublicKey: upperKey1[:], Proof: foreign},
		"with nonsense":              {PublicKey: upperKey1[:], Proof: []byte("it is mine")},
		"as its next one":            {PublicKey: lowerKey2[:], Proof: foreign, NextPublicKey: upperKey1[:]},
		"as its next one, by theirs": {PublicKey: lowerKey2[:], Proof: foreign, NextPublicKey: upperKey1[:], NextProof: stolen},
	} {
		lie.Port = 51820
		payload, err := proto.Marshal(&records.Announcement{Wireguard: lie})
		if err != nil {
			t.Fatal(err)
		}
		thief := announcing(t, there, thiefPrefix, lowerKey2)
		thief.Announcement = payload
		tun := holding()
		want, err := tun.wantPeers([]mesh.Node{thief}, choose(t, []mesh.Node{thief}))
		if !errors.Is(err, errUnproved) || faultsOf(err)[there][0].kind != problemKey {
			t.Errorf("%s: got %v, want that it is said", name, err)
		}
		if p, peer := want[there]; peer && (p.PublicKey != lowerKey2 || p.Former != tunnel.Former{}) || peer != slices.Equal(lie.GetPublicKey(), lowerKey2[:]) {
			t.Errorf("%s: the thief is %+v", name, p)
		}
		for _, nodes := range [][]mesh.Node{{thief, honest}, {honest, thief}} {
			if want, _ := tun.wantPeers(nodes, choose(t, nodes)); want[here].PublicKey != upperKey1 || want[here].Prefix != honest.Prefix {
				t.Errorf("%s: the honest node is %+v", name, want[here])
			}
		}
	}
}

// What was found out of a proof is remembered as long as it is announced.
func TestProofsAreRememberedWhileTheyAreAnnounced(t *testing.T) {
	var p proofs
	text := proofOf(t, lowerKey1, here)
	for round := range 4 {
		p.begin()
		if !p.hold(here, lowerKey1, text) || p.hold(there, lowerKey1, text) {
			t.Errorf("round %d: the proof does not hold, or holds of another", round)
		}
		if len(p.now) != 2 || len(p.before) != min(round, 1)*2 {
			t.Errorf("round %d: %d are remembered, and %d of before", round, len(p.now), len(p.before))
		}
	}
	p.begin()
	p.begin()
	if len(p.now)+len(p.before) > 0 {
		t.Error("what nobody announces any more is remembered")
	}
}
