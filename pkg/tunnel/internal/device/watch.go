package device

import (
	"context"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// resubscribe is how long to wait before the kernel is asked anew for news, after
// it had more of it than anybody read.
const resubscribe = 100 * time.Millisecond

// Watch calls changed whenever a device of the name comes, changes or goes, until
// ctx ends.
func Watch(ctx context.Context, name string, changed func()) error {
	for {
		news, done := make(chan netlink.LinkUpdate), make(chan struct{})
		if err := netlink.LinkSubscribe(news, done); err != nil {
			return fmt.Errorf("subscribe to devices: %w", err)
		}
		listen(ctx, news, name, changed)
		close(done)
		for range news { //nolint:revive // what is sent meanwhile must not hold up the sender
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(resubscribe):
			changed() // whatever it was that was missed
		}
	}
}

// listen passes news on until there is no more, or ctx ends.
func listen(ctx context.Context, news <-chan netlink.LinkUpdate, name string, changed func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case u, ok := <-news:
			if !ok {
				return
			}
			// The kernel also tells of wireless events and of the state of a bridge's
			// ports, which are none of a tunnel's.
			if u.Link != nil && u.Attrs().Name == name && (u.Header.Type == unix.RTM_DELLINK || u.Header.Type == unix.RTM_NEWLINK) {
				changed()
			}
		}
	}
}
