package daemon

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"testing"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
)

// What is shown of a node is enough to make a tunnel to it by hand, and nothing is
// made up.
func TestANodeShowsWhatItTakesTunnelsWith(t *testing.T) {
	public := make(ed25519.PublicKey, ed25519.PublicKeySize)
	public[0] = 7
	key := make([]byte, 32)
	key[0] = 9
	announce := func(a *records.Announcement) []byte {
		text, err := proto.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	both := announce(&records.Announcement{
		Wireguard: &records.WireGuard{PublicKey: key, Port: 51820}, Ipsec: &records.IPsec{Port: 51821},
	})
	w, i := apiEnds(mesh.Node{PublicKey: public, Announcement: both})
	if w.GetPublicKey() != base64.StdEncoding.EncodeToString(key) || w.GetPort() != 51820 || i.GetPort() != 51821 {
		t.Errorf("got %v and %v", w, i)
	}
	block, _ := pem.Decode([]byte(i.GetPublicKey()))
	if block == nil {
		t.Fatalf("no PEM in %q", i.GetPublicKey())
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil || !public.Equal(parsed) {
		t.Errorf("the public key is %v, %v", parsed, err)
	}
	sum := sha256.Sum256(block.Bytes)
	if want := "@#" + hex.EncodeToString(sum[:20]); i.GetId() != want {
		t.Errorf("the id is %s, want %s", i.GetId(), want)
	}
	one := announce(&records.Announcement{Wireguard: &records.WireGuard{PublicKey: key, Port: 51820}})
	if w, i := apiEnds(mesh.Node{PublicKey: public, Announcement: one}); w == nil || i != nil {
		t.Errorf("of a node without IPsec: %v and %v", w, i)
	}
	if w, i := apiEnds(mesh.Node{PublicKey: public, Announcement: []byte("nonsense")}); w != nil || i != nil {
		t.Errorf("of nonsense: %v and %v", w, i)
	}
}
