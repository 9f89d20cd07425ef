package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/sync/errgroup"
)

// How memberlist finds failures by itself: more slowly than witnesses do, for it
// must throw nobody out in bad weather, and stands in for them only where there
// are not enough. The time of suspicion grows with the logarithm of the number of
// nodes, and is up to suspicionMaxMult as long where few confirm it.
const (
	probeInterval    = time.Second
	probeTimeout     = 500 * time.Millisecond
	suspicionMult    = 5
	suspicionMaxMult = 3
)

const (
	gossipInterval = 100 * time.Millisecond
	gossipNodes    = 4
	streamTimeout  = 5 * time.Second
	// collectInterval is how often what is old is looked for.
	collectInterval = time.Minute
	// antiEntropyInterval is the mean time between comparisons with a peer that
	// no digest has asked for.
	antiEntropyInterval = 2 * time.Minute
	// membersInterval is that between exchanges of all members that no digest
	// has asked for, of 32 nodes; memberlist makes it longer for more.
	membersInterval = 2 * time.Minute
	// retransmitMult times the logarithm of the number of nodes is how often a
	// node tells a change. Whom that leaves out finds it by a digest.
	retransmitMult = 2
	// leaveTimeout bounds how long a leaving node waits for others.
	leaveTimeout = 3 * time.Second
)

// session is the time from a start, or a Join, to a stop, or a Leave.
type session struct {
	m    *Mesh
	in   *member
	log  *slog.Logger
	list *memberlist.Memberlist
	// deliver sends a packet to one member.
	deliver func(memberlist.Address, []byte) error
	queue   *memberlist.TransmitLimitedQueue
	members *members
	vigil   *vigil
	syncer  *syncer
	inbox   chan []byte
	limits  limits
	// pace is that of comparisons that digests ask for, mergePace that of
	// exchanges of members. merge has who to exchange these with.
	pace, mergePace *pace
	merge           chan NodeID
	// agreed is when another node was last heard of that sees the same members.
	agreed time.Time
	ring   *memberlist.Keyring
	// rekey is poked when there may be another gossip key. Its capacity is 1.
	rekey chan struct{}
	// share is poked when a token was made or used. Its capacity is 1.
	share chan struct{}
	// rejoin is poked when a member comes or goes. Its capacity is 1.
	rejoin chan struct{}
	stop   context.CancelFunc
	ended  chan struct{}
}

// runSession takes part in a mesh until ctx ends or the node leaves.
func (m *Mesh) runSession(ctx context.Context, in *member) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := m.ensureSelf(); err != nil {
		return err
	}
	s := &session{
		m: m, in: in, log: m.log, stop: cancel, ended: make(chan struct{}),
		inbox: make(chan []byte, inboxSize), rejoin: make(chan struct{}, 1),
		limits: newLimits(), pace: newPace(differFirst, differLast),
		mergePace: newPace(mergePatience, mergeLast), merge: make(chan NodeID, 1), agreed: time.Now(),
		rekey: make(chan struct{}, 1), share: make(chan struct{}, 1),
	}
	defer close(s.ended)
	s.members = newMembers(m, s.membersChanged)
	s.vigil = newVigil(s, s.members.tally)
	s.members.heard = s.vigil.answers
	s.syncer = newSyncer(s)
	s.queue = &memberlist.TransmitLimitedQueue{RetransmitMult: retransmitMult, NumNodes: s.size}
	listeners, err := m.listen(ctx)
	if err != nil {
		return err
	}
	if err := s.startGossip(ctx); err != nil {
		closeAll(listeners)
		return fmt.Errorf("start gossip on %s port %d: %w", m.cfg.Links[0].Addr, m.cfg.GossipPort, err)
	}
	defer func() { err = errors.Join(err, s.list.Shutdown()) }()
	if !m.begin(s) {
		closeAll(listeners)
		return nil
	}
	defer m.end()
	m.readyOnce.Do(func() { close(m.ready) })
	return s.run(ctx, listeners)
}

// run does the session's work until ctx ends.
func (s *session) run(ctx context.Context, listeners []net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	s.m.serve(ctx, group, listeners)
	for _, work := range []func(context.Context){
		s.runInbox, s.syncer.run, s.runDigests, s.runMerge, s.runAntiEntropy, s.runRejoin, s.runCollect, s.vigil.run, s.runKeys, s.runRenew, s.runShare,
		s.runAskTime,
	} {
		group.Go(func() error {
			work(ctx)
			return nil
		})
	}
	group.Go(func() error { return s.m.replica.runFlush(ctx) })
	return group.Wait()
}

// begin makes the session the one in force, unless the node has left meanwhile.
func (m *Mesh) begin(s *session) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.member == nil || m.member.trustAnchor != s.in.trustAnchor {
		return false
	}
	m.session = s
	m.pokes.poke()
	return true
}

// end is the opposite of begin.
func (m *Mesh) end() {
	m.mu.Lock()
	m.session = nil
	m.mu.Unlock()
	m.pokes.poke()
}

// size is how many members there are, for the number of retransmissions.
func (s *session) size() int {
	s.members.mu.Lock()
	defer s.members.mu.Unlock()
	return len(s.members.alive)
}

// membersChanged is called when a member comes or goes, or is thought of
// otherwise.
func (s *session) membersChanged() {
	s.vigil.membersChanged.Store(true)
	poke(s.rejoin)
	s.m.pokes.poke()
}

// startGossip starts memberlist.
func (s *session) startGossip(ctx context.Context) error {
	cfg := s.gossipConfig()
	var err error
	if s.ring, err = s.in.keys.ring(s.m.cfg.now()); err != nil {
		return err
	}
	cfg.Keyring = s.ring
	addr := netip.AddrPortFrom(s.m.cfg.Links[0].Addr, s.m.cfg.GossipPort)
	t, err := newGossipTransport(ctx, gossipEnd{
		network: s.m.cfg.Network, addr: addr, log: cfg.Logger,
		refused: func(err error) { s.m.replica.refusals.count(err) },
	})
	if err != nil {
		return err
	}
	cfg.Transport = t
	if s.list, err = memberlist.Create(cfg); err != nil {
		return errors.Join(err, t.Shutdown())
	}
	s.deliver = s.list.SendToAddress
	return nil
}

// gossipConfig is memberlist's.
func (s *session) gossipConfig() *memberlist.Config {
	cfg, link := memberlist.DefaultWANConfig(), s.m.cfg.Links[0].Addr.String()
	cfg.Name = string(s.m.id)
	cfg.Label = string(s.in.mesh)
	cfg.BindAddr, cfg.AdvertiseAddr = link, link
	cfg.BindPort, cfg.AdvertisePort = int(s.m.cfg.GossipPort), int(s.m.cfg.GossipPort)
	cfg.TCPTimeout, cfg.UDPBufferSize = streamTimeout, gossipPacket
	cfg.ProbeInterval, cfg.ProbeTimeout = probeInterval, probeTimeout
	cfg.SuspicionMult, cfg.SuspicionMaxTimeoutMult = suspicionMult, suspicionMaxMult
	cfg.AwarenessMaxMultiplier = 4
	cfg.GossipInterval, cfg.GossipNodes = gossipInterval, gossipNodes
	cfg.PushPullInterval = membersInterval
	// A node that comes back with another address must not wait for long.
	cfg.DeadNodeReclaimTime = time.Second
	cfg.EnableCompression = false // Keys and signatures do not compress.
	cfg.Delegate = delegate{s}
	cfg.Events, cfg.Alive, cfg.Ping = s.members, s.members, s.members
	cfg.Logger = (&gossipLog{s.log}).logger()
	return cfg
}

// runAntiEntropy compares with a random peer from time to time.
func (s *session) runAntiEntropy(ctx context.Context) {
	for pause(ctx, jitter(antiEntropyInterval)) {
		s.requestAnySync()
	}
}

// requestAnySync asks for a comparison with a random member.
func (s *session) requestAnySync() {
	if id := s.members.any(s.m.id); id != "" {
		s.syncer.request(id, nil)
	}
}

// peers returns the other nodes in a state.
func (s *session) peers(want State) []Node {
	var out []Node
	for _, n := range s.m.Nodes() {
		if !n.Local && n.State == want {
			out = append(out, n)
		}
	}
	return out
}

// runCollect forgets old tombstones and nodes that have been dead for long, and
// shows others that this one is not.
func (s *session) runCollect(ctx context.Context) {
	for pause(ctx, jitter(collectInterval)) {
		if err := s.m.ensureSelf(); err != nil {
			s.log.Warn("renew own node record", "err", err)
		}
		s.lapse()
		n, err := s.m.replica.collect()
		if err != nil {
			s.log.Warn("collect tombstones", "err", err)
		} else if n > 0 {
			s.log.Debug("collect tombstones", "count", n)
			s.m.pokes.poke()
		}
		s.m.replica.dropOrphans()
	}
}

// jitter spreads what all nodes do: d by half more or less.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d)
}
