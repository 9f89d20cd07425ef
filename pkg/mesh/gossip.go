package mesh

import (
	"slices"

	"github.com/hashicorp/memberlist"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// Limits of gossip.
const (
	// maxGossip is the biggest message that travels whole: it has to fit into
	// gossipPacket with memberlist's own framing, label and encryption.
	maxGossip = 1100
	// maxQueued is how many messages wait at most. What is more is left to a
	// hint to synchronize, which is quicker for many.
	maxQueued = 64
	// inboxSize is how many received messages wait. Anti-entropy mends what is
	// dropped beyond.
	inboxSize = 1024
	// maxRelayed is how many news of one exchange are told to others at once:
	// a node that has just come learns much that nobody else lacks.
	maxRelayed = 256
)

// encodeEnvelope makes the gossip message that carries a record.
func encodeEnvelope(env *wire.Envelope) ([]byte, error) {
	return wire.Marshal(&wire.Gossip{Message: &wire.Gossip_Envelope{Envelope: env}})
}

// encodeHint makes the gossip message that tells where a record is, or, with
// none, that much is new there.
func encodeHint(e *entry, sender NodeID) ([]byte, error) {
	h := &wire.Hint{Sender: sender.bytes()}
	if e != nil {
		h.Kind, h.Key, h.Version = string(e.Kind), e.Key, uint64(e.Version)
	}
	return wire.Marshal(&wire.Gossip{Message: &wire.Gossip_Hint{Hint: h}})
}

// broadcast is a queued message.
type broadcast struct {
	name    string
	message []byte
}

var _ memberlist.NamedBroadcast = (*broadcast)(nil)

// Invalidates tells whether b replaces another message: that about the same
// record.
func (b *broadcast) Invalidates(other memberlist.Broadcast) bool {
	o, ok := other.(memberlist.NamedBroadcast)
	return ok && o.Name() == b.name
}

func (b *broadcast) Name() string    { return b.name }
func (b *broadcast) Message() []byte { return b.message }
func (b *broadcast) Finished()       {}

// broadcast queues entries for gossip.
func (s *session) broadcast(es []*entry) {
	for _, e := range es {
		if s.queue.NumQueued() >= maxQueued {
			s.broadcastHint(nil)
			return
		}
		b, err := encodeEnvelope(e.envelope())
		if err != nil || len(b) > maxGossip {
			s.broadcastHint(e)
			continue
		}
		s.queue.QueueBroadcast(&broadcast{name: string(recordKey(e.ref())), message: b})
	}
}

// broadcastHint queues the hint for an entry, or the general one.
func (s *session) broadcastHint(e *entry) {
	b, err := encodeHint(e, s.m.id)
	if err != nil {
		s.log.Warn("encode hint", "err", err)
		return
	}
	name := ""
	if e != nil {
		name = string(recordKey(e.ref()))
	}
	s.queue.QueueBroadcast(&broadcast{name: "hint\x00" + name, message: b})
}

// relay tells others of news that came from one peer.
func (s *session) relay(news []*entry) {
	if len(news) > maxRelayed {
		recent := versionAt(s.m.cfg.now().Add(-recentNews))
		news = slices.DeleteFunc(slices.Clone(news), func(e *entry) bool { return e.Version < recent })
	}
	s.broadcast(news)
}

// delegate is what memberlist calls. It must not block.
type delegate struct{ s *session }

var _ memberlist.Delegate = delegate{}

// NodeMeta adds nothing to a member: its record says all.
func (delegate) NodeMeta(int) []byte { return nil }

// NotifyMsg takes a gossip message.
func (d delegate) NotifyMsg(b []byte) {
	if len(b) > maxGossip {
		return
	}
	if aboutLife(b) {
		d.s.vigil.receive(b)
		return
	}
	select {
	case d.s.inbox <- slices.Clone(b):
	default:
	}
}

// GetBroadcasts gives what is to be sent: what is said of who is there first.
func (d delegate) GetBroadcasts(overhead, limit int) [][]byte {
	out := d.s.vigil.queue.GetBroadcasts(overhead, limit)
	for _, b := range out {
		limit -= overhead + len(b)
	}
	return append(out, d.s.queue.GetBroadcasts(overhead, limit)...)
}

// LocalState is what goes with memberlist's push/pull: a digest.
func (d delegate) LocalState(bool) []byte {
	b, err := d.s.encodeDigest(d.s.m.replica.latest(), initial)
	if err != nil {
		return nil
	}
	return b
}

// MergeRemoteState takes the other side's digest.
func (d delegate) MergeRemoteState(b []byte, _ bool) { d.NotifyMsg(b) }
