package mesh

import (
	"bytes"
	"compress/lzw"
	"crypto/rand"
	"fmt"
	"math"
	"slices"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// gossipLies are told in memberlist's own messages, or are nonsense where those are
// expected. They are sealed with the gossip key, as a member's are.
var gossipLies = map[string]lie{
	"a node is dead, by memberlist":    lieByDeath,
	"a node is dead for good":          lieByDeathForGood,
	"a node has left":                  lieByLeaving,
	"a node is suspect, by memberlist": lieBySuspicion,
	"a node is elsewhere":              lieAboutAddress,
	"members that are nobody":          lieByMembers,
	"nonsense":                         lieByNonsense,
	"bombs":                            lieByBombs,
	"digests":                          lieByDigests,
	"packets without a key":            lieWithoutKey,
}

// far is an incarnation that no member has come to.
const far = 1 << 20

func lieByDeath(l *liar, o *liarOrder) error {
	v, err := l.victim(o)
	if err != nil {
		return err
	}
	return l.packet(accusation(msgDead, far, v.ID, l.id))
}

// lieByDeathForGood says it with the last incarnation: there is none to refute it.
func lieByDeathForGood(l *liar, o *liarOrder) error {
	v, err := l.victim(o)
	if err != nil {
		return err
	}
	return l.packet(accusation(msgDead, math.MaxUint32, v.ID, l.id))
}

func lieByLeaving(l *liar, o *liarOrder) error {
	v, err := l.victim(o)
	if err != nil {
		return err
	}
	return l.packet(accusation(msgDead, 2*far, v.ID, v.ID))
}

func lieBySuspicion(l *liar, o *liarOrder) error {
	v, err := l.victim(o)
	if err != nil {
		return err
	}
	var messages [][]byte
	for _, from := range l.Nodes() {
		messages = append(messages, accusation(msgSuspect, 3*far, v.ID, from.ID))
	}
	return l.packet(messages...)
}

// lieAboutAddress says that a node is at the liar's address.
func lieAboutAddress(l *liar, o *liarOrder) error {
	v, err := l.victim(o)
	if err != nil {
		return err
	}
	return l.packet(
		aliveMessage(4*far, v.ID, l.cfg.Underlay.AsSlice(), DefaultGossipPort),
		aliveMessage(5*far, v.ID, l.cfg.Underlay.AsSlice(), 9))
}

// lieByMembers makes members up.
func lieByMembers(l *liar, o *liarOrder) error {
	for i := range o.Count {
		id := NodeID(fmt.Sprintf("%040x", i+1))
		if err := l.packet(aliveMessage(1, id, l.cfg.Underlay.AsSlice(), 9)); err != nil {
			return err
		}
	}
	return nil
}

// lieByNonsense sends messages of all types with nothing and with nonsense in them,
// cut short, and larger than any are.
func lieByNonsense(l *liar, _ *liarOrder) error {
	var messages [][]byte
	for kind := range 16 {
		for _, rest := range [][]byte{nil, {0}, {0x83}, {0xdf, 0xff, 0xff, 0xff, 0xff}, bytes.Repeat([]byte{0xff}, 300)} {
			messages = append(messages, append([]byte{byte(kind)}, rest...))
		}
	}
	hint, err := encodeHint(nil, l.id)
	if err != nil {
		return err
	}
	for _, gossip := range [][]byte{
		{},
		hint[:len(hint)-1], append(slices.Clone(hint), hint...),
		{8<<3 | 2},
		{8<<3 | 2, 0},
		{11<<3 | 2, 0},
		{15<<3 | 2, 0},
		{31<<3 | 2, 0},
		bytes.Repeat([]byte{1<<3 | 2, 0}, 500), make([]byte, maxGossip+1), make([]byte, 60<<10),
	} {
		messages = append(messages, append([]byte{msgUser}, gossip...))
	}
	// A compound of compounds, and one that promises more than it has.
	messages = append(messages, []byte{msgCompound, 1, 0, 3, msgCompound, 0, 0}, []byte{msgCompound, 255, 255, 255})
	return l.packet(messages...)
}

// bomb is a message that becomes very large when it is decompressed.
func bomb(size int) ([]byte, error) {
	var b bytes.Buffer
	w := lzw.NewWriter(&b, lzw.LSB, 8)
	if _, err := w.Write(make([]byte, size)); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return packed(msgCompress, field{"Algo", uint32(0)}, field{"Buf", b.Bytes()}), nil
}

// lieByBombs sends what becomes as much as fits, by datagram and over a stream.
func lieByBombs(l *liar, o *liarOrder) error {
	b, err := bomb(39 << 20)
	if err != nil {
		return err
	}
	for range o.Count {
		if err := l.packet(b); err != nil {
			return err
		}
		if err := l.streams(b); err != nil {
			return err
		}
	}
	// Promises of very many members, and of a very large state.
	return l.streams(
		packed(msgPushPull, field{"Nodes", int64(math.MaxInt64)}, field{"UserStateLen", int64(0)}),
		packed(msgPushPull, field{"Nodes", int64(-1)}, field{"UserStateLen", int64(-1)}),
		packed(msgPushPull, field{"Nodes", int64(0)}, field{"UserStateLen", int64(math.MaxInt64)}),
		packed(msgUser, field{"UserMsgLen", int64(math.MaxInt64)}))
}

// lieByDigests claims to have everything and nothing, in its own name and others',
// and asks for what there is and what there is not.
func lieByDigests(l *liar, o *liarOrder) error {
	var hashes []uint64
	for i := range uint64(maxListed) {
		hashes = append(hashes, i<<32|i)
	}
	var there []uint64
	for _, e := range l.replica.table.entries(func(*entry) bool { return true }) {
		there = append(there, e.hash)
	}
	there = there[:min(len(there), maxListed)]
	for i := range o.Count {
		for _, sender := range l.Nodes() {
			for _, m := range []*wire.Gossip{
				{Message: &wire.Gossip_Digest{Digest: &wire.Digest{Sender: sender.ID.bytes(), Cut: math.MaxUint64, Settled: uint64(i), Recent: hashes}}},
				{Message: &wire.Gossip_Digest{Digest: &wire.Digest{Sender: sender.ID.bytes(), Cut: uint64(l.replica.clock.before(digestWindow)), Settled: uint64(i), Members: 1}}},
				{Message: &wire.Gossip_Want{Want: &wire.Want{Sender: sender.ID.bytes(), Hashes: there}}},
				{Message: &wire.Gossip_Want{Want: &wire.Want{Sender: sender.ID.bytes(), Hashes: hashes}}},
			} {
				b, err := wire.Marshal(m)
				if err == nil {
					err = l.whisper(b)
				}
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// lieWithoutKey sends what is not sealed with the gossip key.
func lieWithoutKey(l *liar, o *liarOrder) error {
	for range o.Count {
		b := make([]byte, 1000)
		if _, err := rand.Read(b); err != nil {
			return err
		}
		if err := l.datagram(append(l.label(), b...)); err != nil {
			return err
		}
	}
	return nil
}
