package wireguard

import (
	"bytes"
	"encoding/hex"
	"slices"
	"testing"

	"edgenet.dev/edgenet/pkg/tunnel"
)

func freshKey(t testing.TB) PrivateKey {
	t.Helper()
	k, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Many keys: of either half of them the signer's point has the other sign.
func TestAProofIsOfItsKeyAndNodeAlone(t *testing.T) {
	for i := range 64 {
		key, other := freshKey(t), freshKey(t)
		proof, err := key.Prove("a")
		if err != nil {
			t.Fatal(err)
		}
		if !Proved(key.Public(), "a", proof) {
			t.Fatalf("the proof of %x does not hold", key.Public())
		}
		theirs, err := other.Prove("a")
		if err != nil {
			t.Fatal(err)
		}
		for what, holds := range map[string]bool{
			"of another node":          Proved(key.Public(), "b", proof),
			"of a longer name":         Proved(key.Public(), "aa", proof),
			"of another key":           Proved(other.Public(), "a", proof),
			"by another key":           Proved(key.Public(), "a", theirs),
			"none":                     Proved(key.Public(), "a", nil),
			"one that is cut":          Proved(key.Public(), "a", proof[:63]),
			"with the sign of the key": Proved(withBit(key.Public(), 255), "a", proof),
			"of no key":                Proved(tunnel.PublicKey{}, "a", proof),
		} {
			if holds {
				t.Errorf("a proof %s holds", what)
			}
		}
		for bit := range len(proof) * 8 {
			if i > 0 {
				break // the same of every key
			}
			bad := slices.Clone(proof)
			bad[bit/8] ^= 1 << (bit % 8)
			if Proved(key.Public(), "a", bad) {
				t.Errorf("the proof with bit %d changed holds", bit)
			}
		}
	}
}

func withBit(key tunnel.PublicKey, bit int) tunnel.PublicKey {
	key[bit/8] |= 1 << (bit % 8)
	return key
}

// What a node announces does not change with each start. Proofs of two nodes by one
// key have nothing in common that would tell the key, nor those by two keys.
func TestAProofFollowsFromKeyAndNode(t *testing.T) {
	key := freshKey(t)
	prove := func(k PrivateKey, node string) []byte {
		t.Helper()
		proof, err := k.Prove(node)
		if err != nil {
			t.Fatal(err)
		}
		return proof
	}
	proof := prove(key, "a")
	if again := prove(key, "a"); !bytes.Equal(proof, again) {
		t.Errorf("the same is proved by %x and by %x", proof, again)
	}
	for what, other := range map[string][]byte{"another node": prove(key, "b"), "another key": prove(freshKey(t), "a")} {
		if bytes.Equal(proof[:32], other[:32]) {
			t.Errorf("the proof of %s commits to the same: %x, %x", what, proof, other)
		}
	}
}

// What is on the other curve, in RFC 7748's words: the base point, u = 9, is
// Ed25519's, whose y is 4/5.
func TestTheSignerOfTheBasePointIsTheBasePoint(t *testing.T) {
	const base = "5866666666666666666666666666666666666666666666666666666666666666"
	if got, ok := signer(tunnel.PublicKey{9}); !ok || hex.EncodeToString(got) != base {
		t.Errorf("got %x, %t, want %s", got, ok, base)
	}
	for name, key := range map[string]tunnel.PublicKey{
		"zero, of order two":            {},
		"one, of order four":            {1},
		"two, which is on no point":     {2},
		"minus one, which has no point": {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"nine and the prime":            {0xf6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	} {
		if got, ok := signer(key); ok {
			t.Errorf("%s: its signer is %x", name, got)
		}
	}
}

func FuzzProved(f *testing.F) {
	key := freshKey(f)
	public := key.Public()
	proof, err := key.Prove("a")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(public[:], "a", proof)
	f.Fuzz(func(t *testing.T, key []byte, node string, got []byte) {
		if len(key) != len(public) {
			return
		}
		made := bytes.Equal(key, public[:]) && node == "a" && bytes.Equal(got, proof)
		if Proved(tunnel.PublicKey(key), node, got) && !made {
			t.Errorf("a proof that nobody has made holds: %x, %q, %x", key, node, got)
		}
	})
}
