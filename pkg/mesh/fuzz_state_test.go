package mesh

import (
	"bytes"
	"crypto/ed25519"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// fuzzNode is an authority, one node of its mesh, and when that is.
type fuzzNode struct {
	ca   *authority
	key  privateKey
	cred *credential
	now  time.Time
}

func newFuzzNode(f *testing.F) *fuzzNode {
	f.Helper()
	n := &fuzzNode{now: time.Now()}
	var err error
	if n.ca, err = newAuthority(f.TempDir(), DefaultCertificateLife, n.now); err != nil {
		f.Fatal(err)
	}
	if n.key, err = newKey(filepath.Join(f.TempDir(), "key")); err != nil {
		f.Fatal(err)
	}
	if n.cred, err = n.ca.issue(n.key.public(), "edge", []Role{RoleEdge, RoleRelay}, n.now); err != nil {
		f.Fatal(err)
	}
	return n
}

// Nothing is a node's certificate but what the authority has signed, to the byte.
func FuzzCertificate(f *testing.F) {
	n := newFuzzNode(f)
	f.Add(n.cred.der)
	f.Add(n.ca.cert.Raw)
	f.Fuzz(func(t *testing.T, der []byte) {
		if c, err := n.ca.trustsDER(der, n.now); err == nil && !bytes.Equal(der, n.cred.der) {
			t.Errorf("%x is believed to be %s", der, c.id)
		}
		if c, err := parseCertificate(der, n.ca.mesh); err == nil && (!c.id.Valid() || ValidateName(c.name) != nil) {
			t.Errorf("a certificate of %q, %q", c.id, c.name)
		}
		if a, err := newTrustAnchor(der); err == nil && !a.mesh.Valid() {
			t.Errorf("a mesh %q", a.mesh)
		}
	})
}

// What a file of a key holds is a whole key, or refused.
func FuzzKeyFile(f *testing.F) {
	n := newFuzzNode(f)
	dir := f.TempDir()
	if _, err := newKey(filepath.Join(dir, "good")); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(dir, "good"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-3])
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), nodeKeyFile)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		key, err := readKey(path)
		if err != nil {
			if strings.Contains(err.Error(), string(n.key.key.Seed())) {
				t.Error("the error says the key")
			}
			return
		}
		if len(key.key) != ed25519.PrivateKeySize || !soundKey(key.public()) {
			t.Errorf("a key of %d bytes is taken", len(key.key))
		}
	})
}

// What a node has kept of its mesh makes it a member of nothing else.
func FuzzMembership(f *testing.F) {
	n := newFuzzNode(f)
	stored := &wire.Membership{
		Authority: n.ca.cert.Raw, Certificate: n.cred.der, GossipKeys: []*wire.HeldKey{{Key: make([]byte, gossipKeySize)}}, Seeds: []string{"10.0.0.1:7947"},
	}
	b, err := wire.Marshal(stored)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	m := &Mesh{cfg: Config{StateDir: f.TempDir(), Name: "edge", Now: func() time.Time { return n.now }}, key: n.key, id: n.cred.id}
	tok := &token{}
	if tok.fingerprint, err = fingerprint(n.ca.cert.PublicKey); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var stored wire.Membership
		if proto.Unmarshal(b, &stored) != nil {
			return
		}
		if in, err := m.newMember(&stored); err == nil && (in.self.id != m.id || len(in.keys.keys) == 0) {
			t.Errorf("a member as %s with %d keys", in.self.id, len(in.keys.keys))
		}
		// An authority's answer has the same parts, and is not believed as easily.
		answer := &wire.JoinResponse{Authority: stored.GetAuthority(), Certificate: stored.GetCertificate()}
		for _, k := range stored.GetGossipKeys() {
			answer.GossipKeys = append(answer.GossipKeys, &wire.OfferedKey{Key: k.GetKey(), Version: k.GetVersion()})
		}
		got, _, err := m.accept(tok, answer)
		if err == nil && (!bytes.Equal(got.GetAuthority(), n.ca.cert.Raw) || !bytes.Equal(got.GetCertificate(), n.cred.der)) {
			t.Errorf("an answer of another authority is accepted: %x", b)
		}
	})
}

// An error from another node is bounded, and prints.
func FuzzRefusal(f *testing.F) {
	b, err := wire.Marshal(&wire.Refusal{Code: "name_taken", Message: "x"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("404 page not found\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		resp := &http.Response{Status: "400 Bad Request", Body: io.NopCloser(bytes.NewReader(b))}
		err := readRefusal(resp)
		if err == nil || !printable(err.Error()) || len(err.Error()) > 5*maxRefusalBody {
			t.Errorf("a refusal that says %q", err)
		}
	})
}

// Keys of records are taken apart without a panic, and belong to a node or nobody.
func FuzzRecordKey(f *testing.F) {
	id := "0123456789abcdef0123456789abcdef01234567"
	for _, k := range kinds {
		for _, key := range []string{id, id + "/7/web", "7/web", "7", "blue", PolicyKey, SettingsKey} {
			f.Add(string(k), key)
		}
	}
	f.Fuzz(func(t *testing.T, kind, key string) {
		k := Kind(kind)
		if checkKey(k, key) != nil {
			return
		}
		if o := owner(k, key); !k.known() || len(key) > MaxKey || o != "" && !o.Valid() {
			t.Errorf("a %s record with the key %q is that of %q", kind, key, o)
		}
		if strings.ContainsRune(key, 0) || !printable(key) {
			t.Errorf("the key %q", key)
		}
	})
}
