package tunneltest

import (
	"net/netip"
	"testing"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// Side is one of the two nodes of a harness.
type Side int

// The sides.
const (
	Left Side = iota
	Right
)

// Other returns the opposite side.
func (s Side) Other() Side { return 1 - s }

// String returns the side's name.
func (s Side) String() string { return [...]string{"left", "right"}[s] }

// Harness is two nodes that can reach each other's underlay, with nothing up.
// What it needs to undo, it registers with t.Cleanup.
type Harness interface {
	// Driver returns a new driver of the side; a second one must adopt.
	Driver(t *testing.T, side Side) tunnel.Driver
	// Device is what the side's Up is to be called with.
	Device(side Side) tunnel.Device
	// Peer is the side as the other one's Put is to be called with.
	Peer(side Side) tunnel.Peer
	// Rekey returns the side's Peer with another public key.
	Rekey(t *testing.T, side Side) tunnel.Peer
	// Deliver sends a datagram from src on the side to dst, and after it one
	// that arrives when the tunnel is right. It reports whether the first one
	// arrived, and fails t when the second did not.
	Deliver(t *testing.T, from Side, src, dst netip.Addr) bool
	// Stream sends a datagram every 10 ms from the side to the other until the
	// returned function is called, which waits for stragglers and says how many
	// were sent and how many of them arrived.
	Stream(t *testing.T, from Side) (stop func() (sent, received int))
	// Crash kills what userspace part the driver has, or reports false when it
	// has none.
	Crash(t *testing.T, side Side) bool
	// Fingerprint returns a text that changes whenever anything of the side's
	// device is changed or made anew: indexes, process, settings.
	Fingerprint(t *testing.T, side Side) string
	// Leftovers lists what is still there of the side after Down.
	Leftovers(t *testing.T, side Side) []string
}
