package tunnel

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// ErrUnsupported says that this host lacks what a driver needs.
var ErrUnsupported = errors.New("not supported by this host")

// PublicKey is what a peer is known and authenticated by: its X25519 key with
// WireGuard, its Ed25519 identity key with IPsec.
type PublicKey [32]byte

// Device is this host's end of all tunnels of one driver.
type Device struct {
	// Name is the network device. It is unique on the machine, not only in the
	// network namespace: control sockets are named after it.
	Name string
	// ListenPort is the UDP port on the underlay.
	ListenPort uint16
	// MTU in bytes of what goes into the tunnel.
	MTU int
	// Address is this node's own overlay address; the device carries it.
	Address netip.Addr
	// Mesh is the prefix of all nodes; it is routed into the device.
	Mesh netip.Prefix
	// Metric of that route: of several drivers' devices, the one with the lowest
	// gets what this node itself sends to the mesh, unless a route to a peer's
	// Prefix says otherwise. 0 is the kernel's default, 1024.
	Metric int
	// Index is the device's in the kernel, as Up found it: one that was made anew
	// has another. It is of no meaning in what is wanted.
	Index int
}

// Peer is the desired state of the tunnel to one node.
type Peer struct {
	PublicKey PublicKey
	// Endpoint is where the peer listens on the underlay.
	Endpoint netip.AddrPort
	// Prefix is the peer's /64: the only source and destination that the
	// tunnel lets through.
	Prefix netip.Prefix
	// Keepalive keeps NAT bindings open; 0 means off.
	Keepalive time.Duration
	// Former is what the peer was known by before PublicKey, while it goes over;
	// its zero value says that it does not. Only WireGuard's peers do.
	Former Former
	// Rest has the driver send nothing for the tunnel's own sake: no keepalive, and
	// no new session. A session that is there stays until it ends by itself or
	// Rester.Sleep ends it; the peer may begin one.
	Rest bool
}

// Former is a key that a peer goes over from: packets of one half of its /64 still
// go by it, in both directions, and all others by the new one. Deleting it gives
// them to the new one, too.
type Former struct {
	PublicKey PublicKey
	// Half is that of the peer's /64 that PublicKey says.
	Half netip.Prefix
	// Address is the peer's own, which goes by it, too, whichever half it is in.
	Address   netip.Addr
	Keepalive time.Duration
}

// PeerStatus is what is true of a tunnel in the kernel.
type PeerStatus struct {
	Peer
	// Live is true while there is a session that packets can take.
	Live bool
	// LastHandshake is when the keys were made that packets are encrypted with, which
	// tells them from the keys before; zero before the first.
	LastHandshake time.Time
	// Authenticated is when the session began in which they were made: when the two
	// ends last proved who they are. WireGuard does so in every handshake, IPsec
	// once for each IKE SA.
	Authenticated time.Time
	// RxBytes and TxBytes may begin anew when a driver or its process does.
	RxBytes, TxBytes uint64
	// Dormant says that there is no session because an end has let it go while
	// nothing was to be carried: nothing is broken.
	Dormant bool
	// BehindNAT says that this node's own address is not the one that the peer sees.
	// It may be that without being said.
	BehindNAT bool
	// Cipher that the session encrypts with; empty before the first.
	Cipher string
	// Refusal says in words why there is no session, if an end has refused one
	// lately; empty while there is one.
	Refusal string
	// Replayed and Forged are how many packets were dropped that had been there
	// before, or that the peer has not encrypted; 0 where nobody counts them. They
	// may begin anew as RxBytes may.
	Replayed, Forged uint64
	// ReqID tells the peer's packets from other peers' where the device itself
	// does not drop what is not from Prefix: it is the request id of the XFRM
	// state that a packet came out of. It is 0 where the device does.
	ReqID uint32
}

// Driver makes tunnels of one kind. Its methods are idempotent, touch nothing
// that is right already, and are called by one goroutine. What it made stays in
// force when the program that called it ends; a new Driver adopts it.
//
// Several drivers may run on a node at once, each with a device of its own. A
// peer moves from one to another by being put in the new one, proved there
// (by packets bound to the new device), and only then deleted in the old one.
type Driver interface {
	// Name is the driver's name in the API, for instance wireguard-kernel.
	Name() string
	// Up makes the device exist, run, and be as wanted, and returns what it is:
	// a driver that cannot choose the device's name or MTU freely says which it
	// has. An error that wraps ErrUnsupported means that another driver must be
	// used.
	Up(ctx context.Context, want Device) (Device, error)
	// Peers returns every peer of the device.
	Peers(ctx context.Context) (map[PublicKey]PeerStatus, error)
	// Put makes the peer as wanted. A peer whose underlay address was learned
	// from authenticated packets keeps it while handshakes succeed.
	Put(ctx context.Context, want Peer) error
	// Delete removes a peer. An absent one is not an error.
	Delete(ctx context.Context, key PublicKey) error
	// Down removes the device and all that Up made; what other drivers need
	// stays. An absent one is not an error.
	Down(ctx context.Context) error
}

// Rester is a Driver whose sessions do not begin by themselves when there is a
// packet for a peer that rests.
type Rester interface {
	Driver
	// Wake begins sessions with peers at once, but for those that have one or with
	// which one is being begun. It does not wait for them. Many at once cost less
	// than one by one.
	Wake(ctx context.Context, keys ...PublicKey) error
	// Sleep lets the sessions with peers go that are put as ones that rest, in
	// steps: it is to be called again until Peers says that a peer is neither live
	// nor dormant. Of two ends one does that.
	Sleep(ctx context.Context, keys ...PublicKey) error
}

// Renewer is a Driver whose two ends may come to believe in different sessions, by
// each of which one of them sends in vain.
type Renewer interface {
	Driver
	// Renew begins another session with a peer that is live and yet has not answered
	// since then, beside those that there are; these end when it carries packets. It
	// is to be called again while the peer is silent, in each round, and decides by
	// itself when it is time to try.
	Renew(ctx context.Context, key PublicKey, since time.Time) error
}

// Batcher is a Driver that takes many new peers in less time at once than one by
// one.
type Batcher interface {
	// PutAll is Put of each peer that it does not know yet. After an error any of
	// them may be there; Put says of each what is wrong with it.
	PutAll(ctx context.Context, want []Peer) error
}

// Watcher is a Driver that notices when what it made breaks by itself.
type Watcher interface {
	// Watch calls changed whenever a round of Up and Put may have something to
	// mend or Peers something new to tell, until ctx ends. It may be called from
	// another goroutine than the driver's other methods.
	Watch(ctx context.Context, changed func()) error
}
