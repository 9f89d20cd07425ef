package mesh

import (
	"context"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/time/rate"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// How nodes compare what they have. A digest that nothing follows costs some 200
// bytes on the wire.
const (
	// digestInterval is the mean time between digests that a node sends, each
	// to one random other.
	digestInterval = 200 * time.Millisecond
	// digestWindow is how old a change is that everybody should have: what is
	// older is compared by its sum, what is younger one by one.
	digestWindow = 5 * time.Second
	// digestMemory is how long changes are remembered for comparing.
	digestMemory = 30 * time.Second
	// maxListed is how many states a digest, or a want, lists at most.
	maxListed = 96
)

// What a node does for digests and wants at most, by whomever they are: anybody
// with the gossip key can send any, in any name.
const (
	digestRate  = 64 // per second, some 12 times what comes when all is well
	digestBurst = 256
	// repairRate is what is sent because of them, in bytes per second.
	repairRate  = 128 << 10
	repairBurst = 256 << 10
	// repairAtOnce is how many records are sent because of one.
	repairAtOnce = 24
)

const (
	// differFirst is the least time between comparisons of everything that
	// digests ask for; while they bring nothing it doubles, up to differLast.
	differFirst = time.Second
	differLast  = 16 * time.Second
	// mergePatience is for how long nobody is heard of that sees the same
	// members before these are exchanged; while that changes nothing it
	// doubles, up to mergeLast.
	mergePatience = 10 * time.Second
	mergeLast     = 5 * time.Minute
)

// digest is what another node says that it has.
type digest struct {
	sender   NodeID
	cut      Version
	settled  uint64
	recent   []uint64
	members  uint64
	isAnswer bool
}

// want is what another node asks for.
type want struct {
	sender NodeID
	hashes []uint64
}

// limits bound what is done for others' digests and wants.
type limits struct{ messages, bytes *rate.Limiter }

func newLimits() limits {
	return limits{rate.NewLimiter(digestRate, digestBurst), rate.NewLimiter(repairRate, repairBurst)}
}

// The kinds of digests: one that begins a comparison, and the answer to one that
// cannot be compared with.
const (
	initial = false
	answer  = true
)

// latest is what this node says in a digest.
func (r *replica) latest() *view {
	return r.table.latest(r.clock.before(digestWindow), r.clock.before(digestMemory), maxListed)
}

// encodeDigest makes the message of a digest.
func (s *session) encodeDigest(v *view, isAnswer bool) ([]byte, error) {
	return wire.Marshal(&wire.Gossip{Message: &wire.Gossip_Digest{Digest: &wire.Digest{
		Sender: s.m.id.bytes(), Cut: uint64(v.cut), Settled: v.settled, Recent: v.hashes(),
		Members: s.members.sum(), Answer: isAnswer,
	}}})
}

// decodeDigest takes a digest apart.
func decodeDigest(m *wire.Digest) (*digest, error) {
	d := &digest{
		sender: nodeIDFrom(m.GetSender()), cut: Version(m.GetCut()), settled: m.GetSettled(), recent: m.GetRecent(),
		members: m.GetMembers(), isAnswer: m.GetAnswer(),
	}
	if !d.sender.Valid() || len(d.recent) > maxListed {
		return nil, errBadMessage
	}
	return d, nil
}

// decodeWant takes a want apart.
func decodeWant(m *wire.Want) (*want, error) {
	w := &want{sender: nodeIDFrom(m.GetSender()), hashes: m.GetHashes()}
	if !w.sender.Valid() || len(w.hashes) == 0 || len(w.hashes) > maxListed {
		return nil, errBadMessage
	}
	return w, nil
}

// runDigests says to a random member what this node has, from time to time.
func (s *session) runDigests(ctx context.Context) {
	for pause(ctx, jitter(digestInterval)) {
		if to := s.members.any(s.m.id); to != "" {
			s.sendDigest(to, s.m.replica.latest(), initial)
		}
	}
}

// sendDigest sends a digest.
func (s *session) sendDigest(to NodeID, v *view, isAnswer bool) {
	b, err := s.encodeDigest(v, isAnswer)
	if err != nil {
		s.log.Warn("encode digest", "err", err)
		return
	}
	s.send(to, b)
}

// send sends a gossip message to one node. It may get lost.
func (s *session) send(to NodeID, b []byte) {
	addr, ok := s.m.gossipAddr(to)
	if !ok { // Its record is what has to be asked for.
		addr, ok = s.members.addr(to)
	}
	if ok {
		s.sendTo(addr, to, b)
	}
}

// sendTo sends a gossip message to a node at an address, as UDP does.
func (s *session) sendTo(addr string, to NodeID, b []byte) {
	if err := s.deliver(memberlist.Address{Addr: addr, Name: string(to)}, b); err != nil {
		s.log.Debug("send gossip", "peer", to, "err", err)
	}
}

// allowed tells whether one more digest or want is looked at.
func (s *session) allowed(sender NodeID) bool {
	if s.limits.messages.Allow() {
		return true
	}
	s.m.replica.refusals.count(refuse(refusedFlood, "digests in the name of %s, or others", sender))
	return false
}

// compareDigest compares what another node has with what this one has: what the
// other lacks is sent, what this one lacks is asked for.
func (s *session) compareDigest(d *digest) {
	if d.sender == s.m.id || !s.allowed(d.sender) {
		return
	}
	s.compareMembers(d)
	v, ok := s.m.replica.table.view(d.cut)
	if !ok {
		if !d.isAnswer {
			s.sendDigest(d.sender, s.m.replica.latest(), answer)
		}
		return
	}
	if v.settled != d.settled {
		s.differs(d.sender)
	}
	s.repair(d.sender, v.lacking(d.recent))
	if lack := v.unseen(d.recent); len(lack) > 0 {
		b, err := wire.Marshal(&wire.Gossip{Message: &wire.Gossip_Want{Want: &wire.Want{Sender: s.m.id.bytes(), Hashes: lack}}})
		if err == nil {
			s.send(d.sender, b)
		}
	}
}

// answerWant sends what another node asks for, as far as it is there.
func (s *session) answerWant(w *want) {
	if w.sender != s.m.id && s.allowed(w.sender) {
		es := s.m.replica.table.states(w.hashes)
		inExchangeOrder(es)
		s.repair(w.sender, es)
	}
}

// repair sends records to a node that lacks them.
func (s *session) repair(to NodeID, es []*entry) {
	for _, e := range es[:min(len(es), repairAtOnce)] {
		b, err := encodeEnvelope(e.envelope())
		if err != nil || len(b) > maxGossip {
			b, err = encodeHint(e, s.m.id)
		}
		if err != nil || !s.limits.bytes.AllowN(time.Now(), len(b)) {
			return // A later digest will find it again.
		}
		s.send(to, b)
	}
}

// differs asks for a comparison with a node that has other records, unless one
// was made that found nothing just now.
func (s *session) differs(sender NodeID) {
	if s.pace.due(time.Now()) {
		s.syncer.request(sender, nil)
	}
}

// compareMembers has members be exchanged with a node that sees others, if all
// do for a while: what changes now differs for as long as it takes to spread.
func (s *session) compareMembers(d *digest) {
	now := time.Now()
	if d.members == s.members.sum() {
		s.agreed = now
		return
	}
	if now.Sub(s.agreed) < mergePatience || !s.mergePace.due(now) {
		return
	}
	select {
	case s.merge <- d.sender:
	default:
	}
}

// runMerge exchanges members with nodes that see others, until ctx ends.
func (s *session) runMerge(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-s.merge:
			before := s.members.sum()
			if addr, ok := s.m.gossipAddr(id); ok {
				_, err := s.list.Join([]string{addr})
				s.log.Debug("exchange members", "peer", id, "err", err)
			}
			s.mergePace.brought(s.members.sum() != before)
		}
	}
}
