package wireguard

import (
	"context"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// space is a network namespace without a name: it is gone when nothing runs in
// it and its descriptor is closed.
type space struct{ handle netns.NsHandle }

func newSpace(t *testing.T) *space {
	t.Helper()
	requireRoot(t)
	s := &space{}
	var err error
	onThread(func() {
		if s.handle, err = netns.New(); err != nil {
			return
		}
		var lo netlink.Link
		if lo, err = netlink.LinkByName("lo"); err == nil {
			err = netlink.LinkSetUp(lo)
		}
	})
	if err != nil {
		t.Fatalf("make network namespace: %v", err)
	}
	t.Cleanup(func() { _ = s.handle.Close() })
	return s
}

// requireRoot skips on a person's machine and fails in CI.
func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("EDGENET_E2E") == "must" {
		t.Fatal("network namespaces need root")
	}
	t.Skip("network namespaces need root")
}

// do runs f in the namespace.
func (s *space) do(f func() error) error {
	var err error
	onThread(func() {
		if err = netns.Set(s.handle); err == nil {
			err = f()
		}
	})
	return err
}

func (s *space) must(t *testing.T, f func() error) {
	t.Helper()
	if err := s.do(f); err != nil {
		t.Fatal(err)
	}
}

// onThread runs f on a thread that is thrown away after it.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends here
		f()
	}()
	<-done
}

// spaced is a driver whose every call is made in a namespace, as a daemon's
// that was started there would be.
type spaced struct {
	tunnel.Driver
	space *space
}

func (d spaced) Up(ctx context.Context, want tunnel.Device) error {
	return d.space.do(func() error { return d.Driver.Up(ctx, want) })
}

func (d spaced) Peers(ctx context.Context) (got map[tunnel.PublicKey]tunnel.PeerStatus, err error) {
	err = d.space.do(func() error {
		got, err = d.Driver.Peers(ctx)
		return err
	})
	return got, err
}

func (d spaced) Put(ctx context.Context, want tunnel.Peer) error {
	return d.space.do(func() error { return d.Driver.Put(ctx, want) })
}

func (d spaced) Delete(ctx context.Context, key tunnel.PublicKey) error {
	return d.space.do(func() error { return d.Driver.Delete(ctx, key) })
}

func (d spaced) Down(ctx context.Context) error {
	return d.space.do(func() error { return d.Driver.Down(ctx) })
}
