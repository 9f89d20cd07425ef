package tunneltest

import (
	"context"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// Space is a network namespace without a name: it is gone when nothing runs in
// it and its descriptor is closed.
type Space struct{ handle netns.NsHandle }

// NewSpace makes a namespace whose loopback device is up.
func NewSpace(t *testing.T) *Space {
	t.Helper()
	requireRoot(t)
	s := &Space{}
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

// Do runs f in the namespace.
func (s *Space) Do(f func() error) error {
	var err error
	onThread(func() {
		if err = netns.Set(s.handle); err == nil {
			err = f()
		}
	})
	return err
}

// Must is Do that ends the test when f fails.
func (s *Space) Must(t *testing.T, f func() error) {
	t.Helper()
	if err := s.Do(f); err != nil {
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

// Spaced is a driver whose every call is made in a namespace, as a daemon's
// that was started there would be.
type Spaced struct {
	tunnel.Driver
	Space *Space
}

// Up implements tunnel.Driver.
func (d Spaced) Up(ctx context.Context, want tunnel.Device) (got tunnel.Device, err error) {
	err = d.Space.Do(func() error {
		got, err = d.Driver.Up(ctx, want)
		return err
	})
	return got, err
}

// Peers implements tunnel.Driver.
func (d Spaced) Peers(ctx context.Context) (got map[tunnel.PublicKey]tunnel.PeerStatus, err error) {
	err = d.Space.Do(func() error {
		got, err = d.Driver.Peers(ctx)
		return err
	})
	return got, err
}

// Put implements tunnel.Driver.
func (d Spaced) Put(ctx context.Context, want tunnel.Peer) error {
	return d.Space.Do(func() error { return d.Driver.Put(ctx, want) })
}

// Delete implements tunnel.Driver.
func (d Spaced) Delete(ctx context.Context, key tunnel.PublicKey) error {
	return d.Space.Do(func() error { return d.Driver.Delete(ctx, key) })
}

// Down implements tunnel.Driver.
func (d Spaced) Down(ctx context.Context) error {
	return d.Space.Do(func() error { return d.Driver.Down(ctx) })
}

// Watch implements tunnel.Watcher for a driver that does.
func (d Spaced) Watch(ctx context.Context, changed func()) error {
	w, ok := d.Driver.(tunnel.Watcher)
	if !ok {
		return nil
	}
	return d.Space.Do(func() error { return w.Watch(ctx, changed) })
}

// PutAll implements tunnel.Batcher for a driver that does.
func (d Spaced) PutAll(ctx context.Context, want []tunnel.Peer) error {
	b, ok := d.Driver.(tunnel.Batcher)
	if !ok {
		return nil
	}
	return d.Space.Do(func() error { return b.PutAll(ctx, want) })
}

// CountFDs counts this process's descriptors but for the two by which the
// runtime waits, opened at first use and kept.
func CountFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, entry := range entries {
		target, err := os.Readlink("/proc/self/fd/" + entry.Name())
		if err == nil && target != "anon_inode:[eventpoll]" && target != "anon_inode:[eventfd]" {
			count++
		}
	}
	return count
}
