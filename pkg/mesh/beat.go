package mesh

import (
	"crypto/ed25519"
	"encoding/binary"
	"time"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// Domains keep signatures from meaning anything else.
const (
	beatDomain    = "edgenet beat v1\x00"
	silenceDomain = "edgenet silence v1\x00"
)

// maxSilent bounds for how long a witness can say that it has heard nothing: a
// node that is wrongly said to be silent can prove the contrary when that much of
// its own time has passed.
const maxSilent = 10 * time.Second

// moment is an instant of a node's own time: since its start, which is a version
// that it never gives out twice, in milliseconds of its monotonic clock. It needs
// no clock that is right.
type moment struct {
	start Version
	at    uint64
}

// after tells whether m is later than o.
func (m moment) after(o moment) bool {
	return m.start > o.start || m.start == o.start && m.at > o.at
}

// plus returns the moment some time later.
func (m moment) plus(d time.Duration) moment {
	m.at += uint64(max(d, 0).Milliseconds())
	return m
}

// append writes the moment in its one form.
func (m moment) append(b []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, uint64(m.start)), m.at)
}

// beat is a node's sign of life, signed by itself: whoever has it can show others
// that the node was there at that moment of its time. It is never changed.
type beat struct {
	node NodeID
	moment
	signature []byte
}

// maxAt is the longest that a node runs, in milliseconds: some 8,000 years.
const maxAt = 1 << 48

func (b *beat) signed() []byte {
	return b.append(append([]byte(beatDomain), b.node.bytes()...))
}

// newBeat signs a beat.
func newBeat(node NodeID, at moment, key privateKey) *beat {
	b := &beat{node: node, moment: at}
	b.signature = ed25519.Sign(key.key, b.signed())
	return b
}

func (b *beat) signedBy(key ed25519.PublicKey) bool {
	return ed25519.Verify(key, b.signed(), b.signature)
}

func (b *beat) wire() *wire.Beat {
	return &wire.Beat{Node: b.node.bytes(), Start: uint64(b.start), At: b.at, Signature: b.signature}
}

// beatFrom takes a decoded message. Its signature is not looked at.
func beatFrom(w *wire.Beat) (*beat, error) {
	b := &beat{
		node: nodeIDFrom(w.GetNode()), moment: moment{Version(w.GetStart()), w.GetAt()}, signature: w.GetSignature(),
	}
	if !b.node.Valid() || len(b.signature) != ed25519.SignatureSize || b.start == 0 || b.at > maxAt {
		return nil, errBadMessage
	}
	return b, nil
}

// silence is a witness's word, signed, that for some time it has known of no beat
// of a node later than this one. It is never changed.
type silence struct {
	witness NodeID
	beat    *beat
	// silent is at most maxSilent, in whole milliseconds.
	silent time.Duration
	// moment is when the witness says so: what it says later counts.
	moment
	signature []byte
}

func (s *silence) signed() []byte {
	b := append([]byte(silenceDomain), s.witness.bytes()...)
	b = s.beat.append(append(b, s.beat.node.bytes()...))
	b = binary.BigEndian.AppendUint32(b, uint32(s.silent.Milliseconds()))
	return s.append(b)
}

// newSilence signs a witness's word.
func newSilence(witness NodeID, last *beat, silent time.Duration, at moment, key privateKey) *silence {
	s := &silence{witness: witness, beat: last, silent: min(silent, maxSilent).Truncate(time.Millisecond), moment: at}
	s.signature = ed25519.Sign(key.key, s.signed())
	return s
}

func (s *silence) signedBy(key ed25519.PublicKey) bool {
	return ed25519.Verify(key, s.signed(), s.signature)
}

// over is the earliest that the witness can have said so, in the node's own time:
// a beat of then or later proves it wrong.
func (s *silence) over() moment { return s.beat.plus(s.silent) }

// voidedBy tells whether a beat of the node proves the witness wrong.
func (s *silence) voidedBy(m moment) bool {
	return m.after(s.beat.moment) && !s.over().after(m)
}

// silenceFrom takes a decoded message. Its signatures are not looked at.
func silenceFrom(w *wire.Silence) (*silence, error) {
	last, err := beatFrom(w.GetBeat())
	if err != nil {
		return nil, err
	}
	s := &silence{
		witness: nodeIDFrom(w.GetWitness()), beat: last, silent: time.Duration(w.GetSilent()) * time.Millisecond,
		moment: moment{Version(w.GetStart()), w.GetAt()}, signature: w.GetSignature(),
	}
	if !s.witness.Valid() || s.witness == last.node || s.silent > maxSilent ||
		len(s.signature) != ed25519.SignatureSize || s.start == 0 || s.at > maxAt {
		return nil, errBadMessage
	}
	return s, nil
}

func encodeBeat(b *beat) ([]byte, error) {
	return wire.Marshal(&wire.Gossip{Message: &wire.Gossip_Beat{Beat: b.wire()}})
}

func encodeHeard(b *beat) ([]byte, error) {
	return wire.Marshal(&wire.Gossip{Message: &wire.Gossip_Heard{Heard: b.wire()}})
}

func encodeAsk(sender NodeID) ([]byte, error) {
	return wire.Marshal(&wire.Gossip{Message: &wire.Gossip_Ask{Ask: &wire.Ask{Sender: sender.bytes()}}})
}

func encodeSilence(s *silence) ([]byte, error) {
	return wire.Marshal(&wire.Gossip{Message: &wire.Gossip_Silence{Silence: &wire.Silence{
		Witness: s.witness.bytes(), Beat: s.beat.wire(), Silent: uint32(s.silent.Milliseconds()),
		Start: uint64(s.start), At: s.at, Signature: s.signature,
	}}})
}

// lifeSign is a message about signs of life, decoded: one of its parts is set.
type lifeSign struct {
	beat, heard *beat
	silence     *silence
	ask         NodeID
}

// aboutLife tells by its first byte whether a gossip message, if it is any, is
// about signs of life: fields 8 to 11 of wire.Gossip.
func aboutLife(b []byte) bool {
	const lengthDelimited, first, last = 2, 8, 11
	return len(b) > 0 && b[0]&7 == lengthDelimited && b[0]>>3 >= first && b[0]>>3 <= last
}

// decodeSign takes a message about signs of life apart.
func decodeSign(b []byte) (out lifeSign, err error) {
	var m wire.Gossip
	if err := wire.Unmarshal(b, &m); err != nil {
		return lifeSign{}, err
	}
	switch is := m.GetMessage().(type) {
	case *wire.Gossip_Beat:
		out.beat, err = beatFrom(is.Beat)
	case *wire.Gossip_Heard:
		out.heard, err = beatFrom(is.Heard)
	case *wire.Gossip_Silence:
		out.silence, err = silenceFrom(is.Silence)
	case *wire.Gossip_Ask:
		if out.ask = nodeIDFrom(is.Ask.GetSender()); !out.ask.Valid() {
			err = errBadMessage
		}
	default:
		err = errBadMessage
	}
	if err != nil {
		return lifeSign{}, err
	}
	return out, nil
}
