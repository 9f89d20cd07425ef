package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/internal/config"
	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/probe"
)

const (
	// resync is how often everything is compared with the kernel though nobody
	// asked: what was changed behind the daemon's back is mended within it.
	resync = 2 * time.Second
	// keepalive keeps NAT bindings open; WireGuard's own recommendation.
	keepalive = 25 * time.Second
)

// tunnels owns the tunnel devices and peers of this host.
type tunnels struct {
	mesh   *mesh.Mesh
	links  []config.Underlay
	port   uint16
	key    tunnel.PublicKey
	driver tunnel.Driver
	probes *probing
	// underlayMTU is Kernel's.
	underlayMTU func(netip.Addr) (int, error)
	log         *slog.Logger
	trouble     complaint
	dirty       chan struct{}
	// sized is poked when the MTU to a peer is another.
	sized chan struct{}
	// changed is poked when what others derive from the tunnels has changed.
	changed func()

	// round serializes reconciling with taking down; the driver is only called
	// under it.
	round sync.Mutex
	// gone is true when it is known that nothing of a mesh is left in the kernel.
	gone bool
	// nodes are those that the last round was for, policy the version of the
	// policy that it followed.
	nodes  []mesh.Node
	policy mesh.Version
	// life is the context of run.
	life context.Context //nolint:containedctx // rounds start what outlives them

	mu    sync.RWMutex
	state tunnelState
	// news is closed when state is replaced; nil if nobody waits for that.
	news chan struct{}
}

// tunnelState is what the last round found. It is replaced, never changed.
type tunnelState struct {
	device tunnel.Device
	driver string
	peers  map[mesh.NodeID]peerState
	// choices say how each node is reached, or why it must not be.
	choices map[mesh.NodeID]choice
	problem error
}

// peerState is one tunnel as the last round found it.
type peerState struct {
	tunnel.PeerStatus
	// size is how large packets to it may be.
	size pathSize
	use  usage
}

// ready is true when the device is up.
func (s tunnelState) ready() bool { return s.device.Name != "" }

// why says what keeps the device from being ready.
func (s tunnelState) why() error {
	if s.problem == nil {
		return errors.New("it is being made; try again")
	}
	return s.problem
}

// reaches are the nodes that a tunnel leads to.
func (s tunnelState) reaches() map[mesh.NodeID]reach {
	out := make(map[mesh.NodeID]reach, len(s.peers))
	for id, p := range s.peers {
		out[id] = reach{device: s.device.Name, mtu: p.size.mtu, assumed: p.size.basis == probe.Assumed}
	}
	return out
}

func (t *tunnels) current() tunnelState {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.state
}

// replace makes next the state, and returns the one before.
func (t *tunnels) replace(next tunnelState) (before tunnelState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, t.state = t.state, next
	if t.news != nil {
		close(t.news)
		t.news = nil
	}
	return before
}

// awaitReady waits a bounded time for a device that is being made, as it is for a
// moment after a start.
func (t *tunnels) awaitReady(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, arrival)
	defer cancel()
	for {
		t.mu.Lock()
		if t.state.ready() || t.state.problem != nil {
			t.mu.Unlock()
			return
		}
		if t.news == nil {
			t.news = make(chan struct{})
		}
		news := t.news
		t.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			return
		}
	}
}

// run reconciles until ctx ends; what it made stays in force.
func (t *tunnels) run(ctx context.Context) error {
	t.life = ctx
	defer t.probes.stop()
	ticker := time.NewTicker(resync)
	defer ticker.Stop()
	for {
		t.trouble.note(t.reconcile(ctx))
		if !t.awaitNews(ctx, ticker.C) {
			return nil
		}
	}
}

// awaitNews waits until a round may be of use: most changes of records are no
// tunnel's business. It returns false when ctx has ended.
func (t *tunnels) awaitNews(ctx context.Context, tick <-chan time.Time) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick:
			return true
		case <-t.sized:
			return pause(ctx, gather)
		case <-t.dirty:
			if !slices.EqualFunc(t.nodes, t.mesh.Nodes(), sameNode) || t.policy != t.policyVersion() || t.current().problem != nil || !t.current().ready() {
				return true
			}
		}
	}
}

// sameNode compares what the tunnel to a node follows from.
func sameNode(a, b mesh.Node) bool {
	return a.ID == b.ID && a.Prefix == b.Prefix && (a.State == mesh.StateLeft) == (b.State == mesh.StateLeft) &&
		slices.Equal(a.Links, b.Links) && bytes.Equal(a.Announcement, b.Announcement)
}

// reconcile makes device and peers equal to the mesh's nodes.
func (t *tunnels) reconcile(ctx context.Context) error {
	t.round.Lock()
	defer t.round.Unlock()
	if _, in := t.mesh.MeshID(); !in {
		// A daemon that was killed while it left has not come to this yet.
		return t.remove(context.WithoutCancel(ctx))
	}
	t.gone = false
	// A round is not stopped halfway: its calls are bounded, and half a round
	// would be acted upon.
	next, err := t.converge(context.WithoutCancel(ctx))
	next.problem = err
	if !next.ready() {
		// What was there is still in force as far as anyone knows.
		next.device, next.driver, next.peers, next.choices = t.state.device, t.state.driver, t.state.peers, t.state.choices
	}
	before := t.replace(next)
	if before.device != next.device || (before.problem == nil) != (err == nil) || !maps.EqualFunc(before.peers, next.peers, samePeer) {
		t.changed()
	}
	return err
}

// samePeer compares what others derive from a peer.
func samePeer(a, b peerState) bool {
	return a.Prefix == b.Prefix && a.Endpoint == b.Endpoint && a.Live == b.Live && a.size == b.size
}

func (t *tunnels) converge(ctx context.Context) (tunnelState, error) {
	wanted, err := t.wantDevice()
	if err != nil {
		return tunnelState{}, err
	}
	device, err := t.driver.Up(ctx, wanted)
	if err != nil {
		return tunnelState{}, fmt.Errorf("bring up tunnel device %s: %w", wanted.Name, err)
	}
	if err := t.announce(device); err != nil {
		return tunnelState{}, err
	}
	state := tunnelState{device: device, driver: t.driver.Name(), peers: map[mesh.NodeID]peerState{}}
	have, err := t.driver.Peers(ctx)
	if err != nil {
		return tunnelState{}, fmt.Errorf("list tunnel peers: %w", err)
	}
	t.nodes, t.policy = t.mesh.Nodes(), t.policyVersion()
	if state.choices, err = t.choose(t.nodes); err != nil {
		return tunnelState{}, err
	}
	want, problem := t.wantPeers(t.nodes, state.choices, have)
	problems := []error{problem}
	keys := map[tunnel.PublicKey]bool{}
	for id, peer := range want {
		keys[peer.PublicKey] = true
		status, known := have[peer.PublicKey]
		if err := t.driver.Put(ctx, peer); err != nil {
			problems = append(problems, fmt.Errorf("set tunnel peer %s: %w", id, err))
			if known {
				state.peers[id] = peerState{PeerStatus: status}
			}
			continue
		}
		if !known {
			status = tunnel.PeerStatus{Peer: peer}
			t.log.Info("tunnel peer added", "node", id, "endpoint", peer.Endpoint)
		}
		state.peers[id] = peerState{PeerStatus: status}
	}
	for key := range have {
		if keys[key] {
			continue
		}
		if err := t.driver.Delete(ctx, key); err != nil {
			problems = append(problems, fmt.Errorf("remove tunnel peer: %w", err))
			continue
		}
		t.log.Info("tunnel peer removed", "prefix", have[key].Prefix)
	}
	problems = append(problems, t.measure(state, time.Now()))
	return state, errors.Join(problems...)
}

// wantDevice follows from the node's identity and its links.
func (t *tunnels) wantDevice() (tunnel.Device, error) {
	self := t.mesh.Self()
	mtu := 0
	for _, l := range t.links {
		link, err := t.underlayMTU(l.Addr)
		if err != nil {
			return tunnel.Device{}, fmt.Errorf("read MTU of underlay %s: %w", l.Addr, err)
		}
		if m := tunnel.MTU(link, l.Addr); mtu == 0 || m < mtu {
			mtu = m
		}
	}
	return tunnel.Device{
		Name:       deviceName(self.ID),
		ListenPort: t.port,
		MTU:        mtu,
		Address:    self.Addr,
		Mesh:       t.mesh.MeshPrefix(),
	}, nil
}

// deviceName is unique on a machine that runs several daemons.
func deviceName(id mesh.NodeID) string { return "en" + string(id[:10]) + "w" }

func (t *tunnels) announce(d tunnel.Device) error {
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(&records.Announcement{
		Wireguard: &records.WireGuard{PublicKey: t.key[:], Port: uint32(d.ListenPort), Driver: t.driver.Name()},
	})
	if err != nil {
		return fmt.Errorf("encode announcement: %w", err)
	}
	if err := t.mesh.SetAnnouncement(payload); err != nil {
		return fmt.Errorf("announce tunnel: %w", err)
	}
	return nil
}

// wantPeers has a peer for each node that can be reached. A node that cannot is
// reported and stops no other.
func (t *tunnels) wantPeers(nodes []mesh.Node, choices map[mesh.NodeID]choice, have map[tunnel.PublicKey]tunnel.PeerStatus) (map[mesh.NodeID]tunnel.Peer, error) {
	want := map[mesh.NodeID]tunnel.Peer{}
	holders := map[tunnel.PublicKey]mesh.Node{}
	var problems []error
	for _, n := range nodes {
		c, there := choices[n.ID]
		if !there || errors.Is(c.err, errSilent) {
			continue
		}
		peer, err := t.wantPeer(n, c)
		if err != nil {
			problems = append(problems, fmt.Errorf("node %s: %w", n.Name, err))
			continue
		}
		// An announcement does not prove that its node has the key: one that
		// names another's must not take that one's tunnel.
		if first, taken := holders[peer.PublicKey]; taken {
			problems = append(problems, fmt.Errorf("node %s: announces the tunnel key of node %s", n.Name, first.Name))
			if have[peer.PublicKey].Prefix != n.Prefix {
				continue
			}
			delete(want, first.ID)
		}
		holders[peer.PublicKey] = n
		want[n.ID] = peer
	}
	return want, errors.Join(problems...)
}

func (t *tunnels) wantPeer(n mesh.Node, c choice) (tunnel.Peer, error) {
	if c.err != nil {
		return tunnel.Peer{}, c.err
	}
	local := make([]tunnel.Link, 0, len(t.links))
	for _, l := range t.links {
		local = append(local, tunnel.Link{Addr: l.Addr, Carrier: l.Carrier})
	}
	remote := make([]tunnel.Link, 0, len(n.Links))
	for _, l := range n.Links {
		remote = append(remote, tunnel.Link{Addr: l.Addr, Carrier: l.Carrier})
	}
	key := tunnel.PublicKey(c.announced.GetWireguard().GetPublicKey())
	if key == t.key {
		return tunnel.Peer{}, errors.New("announces this node's own tunnel key")
	}
	_, addr, err := tunnel.ChooseLinks(local, remote)
	if err != nil {
		return tunnel.Peer{}, fmt.Errorf("choose a path: %w", err)
	}
	return tunnel.Peer{
		PublicKey: key,
		Endpoint:  netip.AddrPortFrom(addr, uint16(c.announced.GetWireguard().GetPort())),
		Prefix:    n.Prefix,
		Keepalive: keepalive,
	}, nil
}

// nodeAddr is a node's own address in its /64.
func nodeAddr(p netip.Prefix) netip.Addr { return p.Addr().Next() }

// down takes the tunnels away.
func (t *tunnels) down(ctx context.Context) error {
	t.round.Lock()
	defer t.round.Unlock()
	return t.remove(ctx)
}

// remove takes away all that rounds made. round is held.
func (t *tunnels) remove(ctx context.Context) error {
	if t.gone {
		return nil
	}
	t.probes.stop()
	err := t.driver.Down(ctx)
	t.gone = err == nil
	t.replace(tunnelState{problem: err})
	t.changed()
	return err
}

// poke asks for a round soon. It never blocks.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is already due
	}
}
