package tunnel

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// ErrUnsupported says that this host lacks what a driver needs.
var ErrUnsupported = errors.New("not supported by this host")

// PublicKey is a peer's X25519 public key.
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
}

// PeerStatus is what is true of a tunnel in the kernel.
type PeerStatus struct {
	Peer
	// LastHandshake is zero before the first.
	LastHandshake    time.Time
	RxBytes, TxBytes uint64
}

// Driver makes tunnels of one kind. Its methods are idempotent, touch nothing
// that is right already, and are called by one goroutine. What it made stays in
// force when the program that called it ends; a new Driver adopts it.
type Driver interface {
	// Name is the driver's name in the API, for instance wireguard-kernel.
	Name() string
	// Up makes the device exist, run, and be as wanted. An error that wraps
	// ErrUnsupported means that another driver must be used.
	Up(ctx context.Context, want Device) error
	// Peers returns every peer of the device.
	Peers(ctx context.Context) (map[PublicKey]PeerStatus, error)
	// Put makes the peer as wanted. A peer whose underlay address was learned
	// from authenticated packets keeps it while handshakes succeed.
	Put(ctx context.Context, want Peer) error
	// Delete removes a peer. An absent one is not an error.
	Delete(ctx context.Context, key PublicKey) error
	// Down removes the device and all that Up made. An absent one is not an
	// error.
	Down(ctx context.Context) error
}
