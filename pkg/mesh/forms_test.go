package mesh

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"io"
	"math/big"
	"slices"
	"testing"
	"time"

	"filippo.io/edwards25519"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// groupOrder is that of the group in which Ed25519 calculates (RFC 8032, 5.1).
var groupOrder, _ = new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)

// smallOrder are all encodings of points of an order of at most 8 that Go decodes, canonical
// or not: 0, 1, -1 and the two ordinates of order 8, with either sign, and those
// that are as small as to be written with the prime added.
var smallOrder = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	orderEight,
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
}

const orderEight = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"

func unhexed(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func point(t *testing.T, b []byte) *edwards25519.Point {
	t.Helper()
	p, err := new(edwards25519.Point).SetBytes(b)
	if err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	return p
}

// secretScalar is that which a key multiplies by (RFC 8032, 5.1.5).
func secretScalar(t *testing.T, key ed25519.PrivateKey) *edwards25519.Scalar {
	t.Helper()
	h := sha512.Sum512(key.Seed())
	s, err := edwards25519.NewScalar().SetBytesWithClamping(h[:32])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// complete makes a signature that has the given first half, of which the nonce is
// known: S = r + k·s.
func complete(t *testing.T, key ed25519.PrivateKey, first []byte, nonce *edwards25519.Scalar, message []byte) []byte {
	t.Helper()
	sum := sha512.Sum512(slices.Concat(first, key.Public().(ed25519.PublicKey), message))
	k, err := edwards25519.NewScalar().SetUniformBytes(sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return append(bytes.Clone(first), edwards25519.NewScalar().MultiplyAdd(k, secretScalar(t, key), nonce).Bytes()...)
}

// plus adds multiples of the group's order to the second half of a signature.
func plus(signature []byte, times int64) ([]byte, bool) {
	little := bytes.Clone(signature[32:])
	slices.Reverse(little)
	s := new(big.Int).SetBytes(little)
	s.Add(s, new(big.Int).Mul(big.NewInt(times), groupOrder))
	if s.BitLen() > 256 || s.Sign() < 0 {
		return nil, false
	}
	second := s.FillBytes(make([]byte, 32))
	slices.Reverse(second)
	return append(bytes.Clone(signature[:32]), second...), true
}

// otherSignatures returns what other than its one signature might pass for that of a
// message.
func otherSignatures(t *testing.T, key ed25519.PrivateKey, message, good []byte) map[string][]byte {
	t.Helper()
	flip := func(i int, bit byte) []byte {
		b := bytes.Clone(good)
		b[i] ^= bit
		return b
	}
	out := map[string][]byte{
		"none":                       {},
		"a byte less":                good[:63],
		"a byte more":                append(bytes.Clone(good), 0),
		"halves exchanged":           slices.Concat(good[32:], good[:32]),
		"the other sign of R":        flip(31, 0x80),
		"the highest bit of S":       flip(63, 0x80),
		"all zero":                   make([]byte, 64),
		"of the body alone":          ed25519.Sign(key, message[len(recordDomain):]),
		"of the next version's form": ed25519.Sign(key, append([]byte("edgenet record v2\x00"), message[len(recordDomain):]...)),
	}
	for i := int64(1); ; i++ {
		s, fits := plus(good, i)
		if !fits {
			break
		}
		out["S and "+big.NewInt(i).String()+" times the order"] = s
	}
	for name, options := range map[string]*ed25519.Options{
		"Ed25519ph": {Hash: crypto.SHA512}, "Ed25519ctx": {Context: "edgenet"},
	} {
		m := message
		if options.Hash != 0 {
			sum := sha512.Sum512(message)
			m = sum[:]
		}
		s, err := key.Sign(rand.Reader, m, options)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = s
	}
	// The author itself makes these: cofactored equations, and encodings that are
	// not the canonical one of the same point, would take them.
	zero := edwards25519.NewScalar()
	for _, encoding := range smallOrder[1:4] {
		out["R is "+encoding[:4]+"…"+encoding[60:]] = complete(t, key, unhexed(t, encoding), zero, message)
	}
	nonce := secretScalar(t, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, 32)))
	r := new(edwards25519.Point).ScalarBaseMult(nonce)
	r.Add(r, point(t, unhexed(t, orderEight)))
	out["R and a point of order 8"] = complete(t, key, r.Bytes(), nonce, message)
	return out
}

// A record has one signature by each nonce of its author, in one form: nobody
// else makes another of it, and what one node takes all take.
func TestSignaturesInOtherFormsAreRefused(t *testing.T) {
	w := newWorld(t)
	edge := w.admit(w.ca, "edge", RoleEdge)
	w.told(w.signed(edge, w.record(edge)))
	good := w.signed(edge, Record{Kind: KindEndpoint, Key: endpointKey(edge.cred.id, "e"), Payload: []byte("p")})
	message := append([]byte(recordDomain), good.GetBody()...)
	for name, signature := range otherSignatures(t, edge.key.key, message, good.GetSignature()) {
		n, why := w.told(&wire.Envelope{Body: good.GetBody(), Signature: signature})
		if n != 0 || !slices.Equal(why, []string{refusedSignature}) && !slices.Equal(why, []string{refusedMalformed}) {
			t.Errorf("%s: %d news, refusals %v", name, n, why)
		}
	}
	if n, why := w.told(good); n != 1 {
		t.Errorf("the good one is refused: %v", why)
	}
	// A nonce of zero is a signature like any other, in its canonical form: it
	// gives its author's key away, and nothing else.
	body := Record{Kind: KindEndpoint, Key: endpointKey(edge.cred.id, "z"), Payload: []byte("p")}
	env := w.signed(edge, body)
	message = append([]byte(recordDomain), env.GetBody()...)
	env.Signature = complete(t, edge.key.key, unhexed(t, smallOrder[0]), edwards25519.NewScalar(), message)
	if n, why := w.told(env); n != 1 {
		t.Errorf("how these are made is wrong: %v", why)
	}
}

// forger signs for a public key without a private one, by trying.
type forger struct {
	key  ed25519.PublicKey
	rest *edwards25519.Scalar
}

func (f forger) Public() crypto.PublicKey { return f.key }

func (f forger) Sign(_ io.Reader, message []byte, _ crypto.SignerOpts) ([]byte, error) {
	one := make([]byte, 64)
	for i := range 1000 {
		one[0], one[1] = byte(i), byte(i>>8)
		nonce, err := edwards25519.NewScalar().SetUniformBytes(one)
		if err != nil {
			return nil, err
		}
		first := new(edwards25519.Point).ScalarBaseMult(nonce).Bytes()
		second := nonce
		if f.rest != nil {
			sum := sha512.Sum512(slices.Concat(first, f.key, message))
			k, err := edwards25519.NewScalar().SetUniformBytes(sum[:])
			if err != nil {
				return nil, err
			}
			second = edwards25519.NewScalar().MultiplyAdd(k, f.rest, nonce)
		}
		if s := append(first, second.Bytes()...); ed25519.Verify(f.key, message, s) {
			return s, nil
		}
	}
	return nil, io.ErrUnexpectedEOF
}

// requestOf makes a certificate request for a key that nobody has.
func requestOf(t *testing.T, f forger) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"edge"}}, f)
	if err != nil {
		t.Fatalf("%x: %v", f.key, err)
	}
	return der
}

// A node is its key: one for which everybody can sign is nobody's, and one that
// is written in two ways would be two nodes'.
func TestKeysThatAreNobodysAreNotAdmitted(t *testing.T) {
	for _, encoding := range smallOrder {
		ask, err := parseRequest(requestOf(t, forger{key: unhexed(t, encoding)}))
		wantError(t, err, errRequest)
		if ask != nil {
			t.Errorf("%s is admitted as %s", encoding, ask.id)
		}
	}
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	mixed := point(t, key.Public().(ed25519.PublicKey))
	mixed.Add(mixed, point(t, unhexed(t, orderEight)))
	_, err := parseRequest(requestOf(t, forger{key: mixed.Bytes(), rest: secretScalar(t, key)}))
	wantError(t, err, errRequest)
	if good, err := newRequest(privateKey{key: key}, "edge"); err != nil {
		t.Error(err)
	} else if _, err := parseRequest(good); err != nil {
		t.Error(err)
	}
}

// otherDER returns other forms of a certificate: in BER, or with another signature.
func otherDER(t *testing.T, der []byte) map[string][]byte {
	t.Helper()
	if !bytes.HasPrefix(der, []byte{0x30, 0x82}) {
		t.Fatalf("a certificate begins with %x", der[:4])
	}
	inner, signature := der[4:], der[len(der)-64:]
	// SEQUENCE { OID 1.3.101.112 }, and the BIT STRING of 64 bytes.
	tail := append([]byte{0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 65, 0}, signature...)
	if !bytes.HasSuffix(der, tail) {
		t.Fatalf("a certificate ends with %x", der[len(der)-len(tail):])
	}
	tbs := inner[:len(inner)-len(tail)]
	wrap := func(parts ...[]byte) []byte {
		b := slices.Concat(parts...)
		return append([]byte{0x30, 0x82, byte(len(b) >> 8), byte(len(b))}, b...)
	}
	more, _ := plus(signature, 1)
	algorithm := tail[:7]
	return map[string][]byte{
		"a byte more":                  append(bytes.Clone(der), 0),
		"a byte less":                  der[:len(der)-1],
		"a length of three bytes":      slices.Concat([]byte{0x30, 0x83, 0}, der[2:]),
		"an indefinite length":         slices.Concat([]byte{0x30, 0x80}, inner, []byte{0, 0}),
		"in another sequence":          wrap(der),
		"something behind":             wrap(tbs, tail, []byte{5, 0}),
		"S and the order":              wrap(tbs, algorithm, []byte{3, 65, 0}, more),
		"bits that are not used":       wrap(tbs, algorithm, []byte{3, 65, 4}, signature[:63], []byte{signature[63] &^ 15}),
		"a length of the bits in two":  wrap(tbs, algorithm, []byte{3, 0x81, 65, 0}, signature),
		"an algorithm with parameters": wrap(tbs, []byte{0x30, 7, 6, 3, 0x2b, 0x65, 0x70, 5, 0}, tail[7:]),
		"another algorithm":            wrap(tbs, []byte{0x30, 5, 6, 3, 0x2b, 0x65, 0x71}, tail[7:]),
		"bits in parts":                wrap(tbs, algorithm, []byte{0x23, 0x80, 3, 65, 0}, signature, []byte{0, 0}),
	}
}

func TestCertificatesInOtherFormsAreRefused(t *testing.T) {
	w := newWorld(t)
	edge := w.admit(w.ca, "edge", RoleEdge)
	for name, der := range otherDER(t, edge.cred.der) {
		c := *edge.cred
		c.der = der
		w.now = w.now.Add(time.Second) // It would be news.
		n, why := w.told(w.signed(&node{key: edge.key, cred: &c}, w.record(edge)))
		if n != 0 || !slices.Equal(why, []string{refusedCertificate}) {
			t.Errorf("%s: %d news, refusals %v", name, n, why)
		}
		if _, err := w.ca.trustsDER(der, w.now); err == nil {
			t.Errorf("%s: it is trusted", name)
		}
	}
	w.now = w.now.Add(time.Second)
	if n, why := w.told(w.signed(edge, w.record(edge))); n != 1 {
		t.Errorf("the good one is refused: %v", why)
	}
	for name, der := range otherDER(t, w.ca.cert.Raw) {
		if _, err := newTrustAnchor(der); err == nil {
			t.Errorf("%s: it is an authority", name)
		}
	}
}
