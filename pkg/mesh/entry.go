package mesh

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// Sizes of what travels.
const (
	// maxEnvelope bounds a record with all that surrounds its payload.
	maxEnvelope = MaxPayload + maxCertificate + 2<<10
	// maxCertificate bounds a node's certificate.
	maxCertificate = 4 << 10
)

// The fields of a wire.Body that an entry refers to where they are.
const (
	fieldPayload     = 6
	fieldCertificate = 7
)

// recordDomain keeps a signature from meaning anything but a record.
const recordDomain = "edgenet record v1\x00"

// entry is a record as the table keeps it. It is never changed. There are many:
// what is decoded refers to the body as far as it can, and what only node records
// have is apart.
type entry struct {
	Record
	// body and signature are what travels.
	body      []byte
	signature [ed25519.SignatureSize]byte
	// bucket is the part of the digest that it belongs to, hash what it adds.
	bucket uint8
	hash   uint64
	// author is nil in everything but node records.
	author *author
}

// author is what a node record says besides its payload: who its author is.
type author struct {
	// certificate is not yet verified, and nil once credential is there.
	certificate []byte
	credential  *credential
	// info is nil in a tombstone.
	info *nodeInfo
}

// certificate returns the certificate that a node record carries, until it has
// been verified.
func (e *entry) certificate() []byte {
	if e.author == nil {
		return nil
	}
	return e.author.certificate
}

// credential returns the author's own, of an adopted node record, else nil.
func (e *entry) credential() *credential {
	if e.author == nil {
		return nil
	}
	return e.author.credential
}

// info returns what a live node record says of the node, else nil.
func (e *entry) info() *nodeInfo {
	if e.author == nil {
		return nil
	}
	return e.author.info
}

// envelope is what travels, made anew.
func (e *entry) envelope() *wire.Envelope {
	return &wire.Envelope{Body: e.body, Signature: e.signature[:]}
}

// sign makes an entry of a record by its author.
func sign(r Record, author *credential, key privateKey) (*entry, error) {
	body := &wire.Body{
		Kind: string(r.Kind), Key: r.Key, Version: uint64(r.Version),
		Node: r.Node.bytes(), Deleted: r.Deleted, Payload: r.Payload,
	}
	if r.Kind == KindNode {
		body.Certificate = author.der
	}
	b, err := wire.Marshal(body)
	if err != nil {
		return nil, err
	}
	signature := ed25519.Sign(key.key, append([]byte(recordDomain), b...))
	return newEntry(&wire.Envelope{Body: b, Signature: signature})
}

// newEntry decodes an envelope: what can be said of it without knowing anybody.
// The error is a *refusal.
func newEntry(env *wire.Envelope) (*entry, error) {
	if len(env.GetBody()) > maxEnvelope {
		return nil, refuse(refusedOversize, "%d bytes", len(env.GetBody()))
	}
	if len(env.GetSignature()) != ed25519.SignatureSize {
		return nil, refuse(refusedMalformed, "the signature has %d bytes", len(env.GetSignature()))
	}
	var body wire.Body
	if err := wire.Unmarshal(env.GetBody(), &body); err != nil {
		return nil, refuse(refusedMalformed, "%w", err)
	}
	e := &entry{
		Record: Record{
			Kind: Kind(body.GetKind()), Key: body.GetKey(), Version: Version(body.GetVersion()),
			Node: nodeIDFrom(body.GetNode()), Deleted: body.GetDeleted(), Payload: wire.Field(env.GetBody(), fieldPayload),
		},
		body:      env.GetBody(),
		signature: [ed25519.SignatureSize]byte(env.GetSignature()),
	}
	if certificate := wire.Field(env.GetBody(), fieldCertificate); certificate != nil {
		e.author = &author{certificate: certificate}
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	e.thin()
	e.bucket, e.hash = bucketOf(e.ref()), e.digest()
	return e, nil
}

// thin has the entry's texts be those that are there already.
func (e *entry) thin() {
	e.Kind = kinds[slices.Index(kinds[:], e.Kind)]
	if o := owner(e.Kind, e.Key); o != "" {
		e.Node = o // A part of the key.
	}
}

// check looks at the parts of a decoded entry.
func (e *entry) check() error {
	switch {
	case len(e.Payload) > MaxPayload:
		return refuse(refusedOversize, "the payload has %d bytes", len(e.Payload))
	case len(e.certificate()) > maxCertificate:
		return refuse(refusedOversize, "the certificate has %d bytes", len(e.certificate()))
	case !e.Kind.known():
		return refuse(refusedKind, "%q", e.Kind)
	case !e.Node.Valid():
		return refuse(refusedMalformed, "the author is not a node id")
	case e.Version == 0:
		return refuse(refusedMalformed, "no version")
	case e.Deleted && len(e.Payload) != 0:
		return refuse(refusedMalformed, "a tombstone with a payload")
	case e.Deleted && (e.Kind == KindEviction || e.Kind == KindGossipKey):
		return refuse(refusedMalformed, "a tombstone of what is not deleted")
	case (e.Kind == KindNode) != (len(e.certificate()) != 0):
		return refuse(refusedMalformed, "a certificate is missing or out of place")
	}
	if err := checkKey(e.Kind, e.Key); err != nil {
		return refuse(refusedKey, "%w", err)
	}
	if o := owner(e.Kind, e.Key); o != "" && o != e.Node {
		return refuse(refusedAuthor, "%s is not its owner", e.Node)
	}
	return nil
}

// signedBy tells whether the signature is that of the key.
func (e *entry) signedBy(key ed25519.PublicKey) bool {
	message := append([]byte(recordDomain), e.body...)
	return ed25519.Verify(key, message, e.signature[:])
}

// newer tells whether e wins over other, which may be nil: the higher version,
// then the higher hash, which is what a summary says, so that all nodes choose
// the same. An author can make signatures that begin alike.
func (e *entry) newer(other *entry) bool {
	if other == nil || e.Version != other.Version {
		return other == nil || e.Version > other.Version
	}
	if e.hash != other.hash {
		return e.hash > other.hash
	}
	return bytes.Compare(e.signature[:], other.signature[:]) > 0
}

// digest is a hash of which state of which record this is.
func (e *entry) digest() uint64 {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%s\x00%s\x00%d\x00", e.Kind, e.Key, e.Version)
	h.Write(e.signature[:])
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// size is what the entry takes in a message, in bytes.
func (e *entry) size() int {
	return len(e.body) + len(e.signature) + 16
}

// ref names the entry's record.
func (e *entry) ref() ref { return ref{e.Kind, e.Key} }

// ref names a record.
type ref struct {
	kind Kind
	key  string
}
