package wireguard

import (
	"context"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

// noticeTime is generous: what is awaited takes milliseconds, and nobody else has
// it happen.
const noticeTime = 10 * time.Second

// The end of the process, and the end of the device, are noticed at once.
func TestWhatBreaksIsNoticed(t *testing.T) {
	n := newNode(t)
	n.up(t)
	noticed := n.watch(t)
	await := func(what string) {
		t.Helper()
		select {
		case <-noticed:
		case <-time.After(noticeTime):
			t.Fatalf("%s was not noticed", what)
		}
	}
	p := n.process(t, tunneltest.Left)
	defer p.Close()
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await("the end of the process")
	n.up(t)
	for len(noticed) > 0 { // of what was made anew
		<-noticed
	}
	n.space.Must(t, func() error {
		link, err := netlink.LinkByName(n.want.Name)
		if err != nil {
			return err
		}
		return netlink.LinkSetDown(link)
	})
	await("a device that was set down")
}

// watch watches the node until the test ends. It drops what nobody reads.
func (n *node) watch(t *testing.T) <-chan struct{} {
	t.Helper()
	noticed := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	watcher := n.Driver.(tunneltest.Spaced)
	go func() {
		done <- watcher.Watch(ctx, func() {
			select {
			case noticed <- struct{}{}:
			default:
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("watch: %v", err)
		}
	})
	return noticed
}
