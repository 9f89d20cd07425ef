package daemontest

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"edgenet.dev/edgenet/internal/config"
	"edgenet.dev/edgenet/internal/daemon"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

// patience bounds every wait of a test.
const patience = 20 * time.Second

// Node is a host with a daemon.
type Node struct {
	*daemon.Daemon
	Kernel *Kernel
	Config config.Config

	t     testing.TB
	peers func(*daemon.Daemon) http.Handler
	stop  func()
}

var (
	nextHost atomic.Uint32
	network  tunneltest.Network
)

// Loopback returns an address of 127.0.0.0/8 that no other test uses, so that
// every node has all ports for itself.
func Loopback() netip.Addr {
	n, pid := nextHost.Add(1), uint32(os.Getpid())
	return netip.AddrFrom4([4]byte{127, byte(128 + pid>>8&63), byte(pid), byte(1 + n%250)})
}

// Start runs a node that is in no mesh. peers is what daemon.New wants; nil
// serves other nodes nothing.
func Start(t testing.TB, name string, peers func(*daemon.Daemon) http.Handler) *Node {
	t.Helper()
	if peers == nil {
		peers = func(*daemon.Daemon) http.Handler { return http.NotFoundHandler() }
	}
	n := &Node{
		t: t, peers: peers, Kernel: &Kernel{Network: &network},
		Config: config.Config{
			Name: name, Underlay: []config.Underlay{{Addr: Loopback()}},
			StateDir: t.TempDir(), RunDir: t.TempDir(),
			WireGuardPort: config.DefaultWireGuardPort, IPsecPort: config.DefaultIPsecPort, GossipPort: config.DefaultGossipPort, PeerPort: config.DefaultPeerPort,
		},
	}
	n.Start()
	t.Cleanup(n.Stop)
	return n
}

// Start starts a daemon on the host's state.
func (n *Node) Start() {
	n.t.Helper()
	d, err := daemon.New(n.Config, n.Kernel.Daemon(), n.peers, slog.New(slog.DiscardHandler))
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	n.Daemon = d
	n.stop = func() {
		cancel()
		if err := <-done; err != nil {
			n.t.Error(err)
		}
		if err := d.Close(); err != nil {
			n.t.Error(err)
		}
	}
	select {
	case <-d.Ready():
	case <-time.After(patience):
		n.t.Fatal("the daemon is not ready")
	}
}

// Stop ends the daemon; kernel and state stay.
func (n *Node) Stop() {
	n.t.Helper()
	if n.stop != nil {
		n.stop()
		n.stop = nil
	}
}

// Await waits until done is true.
func Await(t testing.TB, what string, done func() bool) {
	t.Helper()
	AwaitWithin(t, patience, what, done)
}

// AwaitWithin is Await for what takes its time.
func AwaitWithin(t testing.TB, patience time.Duration, what string, done func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
