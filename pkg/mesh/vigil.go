package mesh

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// signsSize is how many messages about signs of life wait at most. Who has
	// lost some says of nobody that it is silent.
	signsSize = 1024
	// Each node's words are told on so often at most: twice as many at once as
	// anybody is the witness of, and then some per second.
	sayingsAtOnce    = 32
	sayingsPerSecond = 2
	// signsMult times the logarithm of the number of nodes is how often a node tells
	// a sign of life.
	signsMult = 4
	// answersAtOnce is how many asks are answered in one tick.
	answersAtOnce = 32
)

// vigil finds out who is there. A node beats to its witnesses; these say, signed,
// of whom they hear no more; and a node of which most of its witnesses say so is
// dead (docs/mesh.md). One goroutine owns it, but for what mu guards.
type vigil struct {
	s     *session
	tally *tally
	start Version
	began time.Time
	// signs are messages that have come; lost tells that some were dropped, and
	// acks are nodes that memberlist has heard. mu guards the latter two.
	signs chan []byte
	mu    sync.Mutex
	lost  bool
	acks  []NodeID
	// knocks are what knocking came to.
	knocks chan knock

	watches *watches
	// there are the nodes that can be witnesses, this one too, as of thereSince;
	// witnesses are those of this node.
	there          []NodeID
	thereSince     time.Time
	membersChanged atomic.Bool
	witnesses      []NodeID
	nextBeat       time.Time
	// own is the latest beat of this node.
	own      *beat
	answered int
	// queue has what is told to all. Nothing mends it where it does not arrive, so
	// that it is sent more often than records are.
	queue *memberlist.TransmitLimitedQueue
	// sayings bounds what is told on of each witness.
	sayings map[NodeID]*bucket
}

// knock is what knocking at a node's host came to.
type knock struct {
	id       NodeID
	answered bool
}

// bucket lets a burst through, and then some per second.
type bucket struct {
	tokens float64
	at     time.Time
}

func (b *bucket) take(now time.Time) bool {
	b.tokens = min(sayingsAtOnce, b.tokens+sayingsPerSecond*now.Sub(b.at).Seconds())
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func newVigil(s *session, t *tally) *vigil {
	now := time.Now()
	timing := timings[s.m.cfg.Profile]
	return &vigil{
		s: s, tally: t, start: s.m.replica.version(), began: now, signs: make(chan []byte, signsSize),
		queue:  &memberlist.TransmitLimitedQueue{RetransmitMult: signsMult, NumNodes: s.size},
		knocks: make(chan knock), watches: newWatches(timing, now),
		nextBeat: now.Add(rand.N(timing.beat)), sayings: make(map[NodeID]*bucket),
	}
}

// receive takes a message about signs of life. It never blocks.
func (v *vigil) receive(b []byte) {
	select {
	case v.signs <- slices.Clone(b):
	default:
		v.mu.Lock()
		v.lost = true
		v.mu.Unlock()
	}
}

// answers notes that memberlist's own probe of a node was answered.
func (v *vigil) answers(id NodeID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.acks) < signsSize {
		v.acks = append(v.acks, id)
	}
}

// run keeps the vigil until ctx ends.
func (v *vigil) run(ctx context.Context) {
	var knocks sync.WaitGroup
	defer knocks.Wait()
	tick := time.NewTicker(v.watches.tick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-v.signs:
			v.take(b)
		case k := <-v.knocks:
			v.watches.knocked(k.id, k.answered)
		case <-tick.C:
			// What has come is older than the tick.
			for range len(v.signs) {
				v.take(<-v.signs)
			}
			v.look(ctx, &knocks)
		}
	}
}

// look is what is done each tick.
func (v *vigil) look(ctx context.Context, knocks *sync.WaitGroup) {
	now := time.Now()
	v.watches.wake(now)
	v.mu.Lock()
	acks, lost := v.acks, v.lost
	v.acks, v.lost, v.answered = nil, false, 0
	v.mu.Unlock()
	for _, id := range acks {
		v.watches.hear(id, nil)
	}
	if lost {
		v.watches.oversleep()
	}
	v.lookAround(now)
	if !now.Before(v.nextBeat) {
		v.nextBeat = v.nextBeat.Add(v.watches.beat)
		if v.nextBeat.Before(now) {
			v.nextBeat = now.Add(v.watches.beat)
		}
		v.beat(now, v.witnesses)
	}
	for id := range v.watches.of {
		v.watch(ctx, id, now, knocks)
	}
	v.watches.drop(v.relieved)
	v.dispute(now)
	v.judge(now, v.tally.open())
	v.refuteOwn(now)
	if v.tally.expire(now) {
		v.s.membersChanged()
	}
}

// dispute asks nodes for a beat that memberlist has thrown out.
func (v *vigil) dispute(now time.Time) {
	ids, changed := v.s.members.dispute(now)
	if changed {
		v.s.membersChanged()
	}
	if len(ids) == 0 {
		return
	}
	b, err := encodeAsk(v.s.m.id)
	if err != nil {
		v.s.log.Warn("encode ask", "err", err)
		return
	}
	for _, id := range ids {
		v.send(id, b)
	}
}

// thereLife is for how long who can be a witness is not asked again if nothing is
// said to have changed: records come without a word.
const thereLife = 2 * time.Second

// lookAround finds out who can be a witness. Those that become this node's have a
// beat at once: who never had one knows nothing of it.
func (v *vigil) lookAround(now time.Time) {
	if !v.membersChanged.Swap(false) && v.there != nil && now.Sub(v.thereSince) < thereLife {
		return
	}
	v.there, v.thereSince = v.s.members.there(v.s.m.id), now
	before := v.witnesses
	v.witnesses = witnessesOf(v.s.m.id, v.there, witnessCount)
	v.beat(now, slices.DeleteFunc(slices.Clone(v.witnesses), func(id NodeID) bool { return slices.Contains(before, id) }))
}

// beat sends a beat to some witnesses.
func (v *vigil) beat(now time.Time, to []NodeID) {
	if len(to) == 0 {
		return
	}
	b, err := encodeBeat(v.sign(now))
	if err != nil {
		v.s.log.Warn("encode beat", "err", err)
		return
	}
	for _, id := range to {
		v.send(id, b)
	}
}

// moment is this node's own time.
func (v *vigil) moment(now time.Time) moment {
	return moment{v.start, uint64(max(0, now.Sub(v.began).Milliseconds()))}
}

// sign makes a beat.
func (v *vigil) sign(now time.Time) *beat {
	if at := v.moment(now); v.own == nil || at.after(v.own.moment) {
		v.own = newBeat(v.s.m.id, at, v.s.m.key)
	}
	return v.own
}

// send sends a message to a node whose record is there.
func (v *vigil) send(id NodeID, b []byte) {
	if addr, ok := v.s.m.gossipAddr(id); ok {
		v.s.sendTo(addr, id, b)
	}
}

// watch does what a silent node asks for.
func (v *vigil) watch(ctx context.Context, id NodeID, now time.Time, knocks *sync.WaitGroup) {
	x, me := v.watches.of[id], v.s.m.id
	if x.stated && !v.tally.says(me, id) {
		x.stated, x.refuted = false, v.watches.awake-x.direct >= v.watches.ask
	}
	v.watches.learn(id, v.tally.knows(id))
	alone := !slices.ContainsFunc(v.there, func(other NodeID) bool { return other != id && other != me })
	d := v.watches.due(id, alone, v.tally.accused(id, me, now))
	if d.ask {
		if b, err := encodeAsk(me); err == nil {
			v.send(id, b)
		}
	}
	if d.knock {
		knocks.Go(func() { v.knock(ctx, id) })
	}
	if d.state && v.isWitness(me, id, witnessCount) {
		v.say(x, now)
	}
}

// say tells all that a node is not heard.
func (v *vigil) say(x *watch, now time.Time) {
	s := newSilence(v.s.m.id, x.newest, v.watches.awake-x.got, v.moment(now), v.s.m.key)
	if !v.tally.isNews(s) {
		return // The next tick has another moment.
	}
	x.stated = true
	v.s.log.Debug("a node is silent", "node", s.beat.node, "since", v.watches.awake-x.direct)
	v.accept(s, now)
}

// accept takes a witness's word that is proved and news, and tells it on.
func (v *vigil) accept(s *silence, now time.Time) {
	before := v.tally.verdict(s.beat.node, now)
	v.tally.say(s, now)
	b, err := encodeSilence(s)
	if err != nil {
		v.s.log.Warn("encode silence", "err", err)
		return
	}
	v.queue.QueueBroadcast(&broadcast{name: "silence\x00" + string(s.witness) + string(s.beat.node), message: b})
	v.judge(now, []NodeID{s.beat.node})
	if v.tally.verdict(s.beat.node, now) != before {
		v.s.membersChanged()
	}
}

// judge looks whether nodes are dead by now.
func (v *vigil) judge(now time.Time, ids []NodeID) {
	for _, id := range ids {
		if id == v.s.m.id {
			continue
		}
		witnesses := witnessesOf(id, v.there, witnessCount)
		if v.tally.agree(id, witnesses, now) {
			v.s.log.Info("a node is agreed dead", "node", id, "name", v.nameOf(id), "witnesses", len(witnesses))
			v.s.membersChanged()
		}
	}
}

// refuteOwn proves that this node is there, if others say that it is not.
func (v *vigil) refuteOwn(now time.Time) {
	me := v.s.m.id
	if len(v.tally.sayersOf(me)) == 0 {
		return
	}
	b := v.sign(now)
	refuted, wrong := v.tally.refute(b, now)
	if !refuted {
		return // It is too early: what is said is of later than this.
	}
	v.acquitted(me, StateSuspect, wrong)
	v.s.log.Debug("refute what is said of this node")
	v.tell(b)
	v.beat(now, v.witnesses)
}

// tell tells all of a beat.
func (v *vigil) tell(b *beat) {
	message, err := encodeHeard(b)
	if err != nil {
		v.s.log.Warn("encode beat", "err", err)
		return
	}
	v.queue.QueueBroadcast(&broadcast{name: "heard\x00" + string(b.node), message: message})
}

// isWitness tells whether a node is among the first count witnesses of another, if
// it is there.
func (v *vigil) isWitness(id, of NodeID, count int) bool {
	among := v.there
	if !slices.Contains(among, id) {
		among = append(slices.Clip(among), id)
	}
	return slices.Contains(witnessesOf(of, among, count), id)
}

// relieved tells whether this node is no witness of another any more, or that one
// is no node.
func (v *vigil) relieved(id NodeID) bool {
	return !v.s.members.known(id) || !v.isWitness(v.s.m.id, id, witnessCount)
}

// nameOf returns a node's name, for people.
func (v *vigil) nameOf(id NodeID) string {
	n, _ := v.s.m.Node(string(id))
	return n.Name
}

// knock tries whether a node's host takes connections where it gossips: its
// kernel does that also while the node lacks processor time, and no more when
// there is no such process.
func (v *vigil) knock(ctx context.Context, id NodeID) {
	k := knock{id: id}
	if addr, ok := v.s.m.gossipAddrPort(id); ok {
		bounded, cancel := context.WithTimeout(ctx, v.watches.silent-v.watches.knock)
		conn, err := v.s.m.cfg.Network.Dial(bounded, addr)
		cancel()
		if k.answered = err == nil; k.answered {
			err = conn.Close()
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			v.s.log.Debug("knock at a silent node", "node", id, "err", err)
		}
	}
	select {
	case v.knocks <- k:
	case <-ctx.Done():
	}
}
