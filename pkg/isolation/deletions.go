package isolation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// leavingGroup is the group of devices (IFLA_GROUP) that are being deleted
// together: "edge". Nobody else's devices are in it.
const leavingGroup = 0x65646765

// deletions deletes devices while other work goes on. The kernel answers a
// deletion when nothing refers to the device any more, after 14 to 28 ms where it
// was measured, for most of which its configuration is not locked. Devices that
// come meanwhile are deleted together next: 20 of them take as long as one.
type deletions struct {
	socket *nl.SocketHandle // its own: whoever uses one waits for its answer
	log    *slog.Logger
	// delete deletes devices, and says what went wrong with each.
	delete func([]netlink.Link) []error

	mu      sync.Mutex
	running bool
	ended   sync.WaitGroup
	// pending are those that may be there still, by name; next those of them that
	// the kernel was not asked for yet.
	pending map[string]*deletion
	next    []*deletion
}

// deletion is that of one device.
type deletion struct {
	link netlink.Link
	// done is closed when it is gone, or err says why it is not.
	done chan struct{}
	err  error
}

func openDeletions(log *slog.Logger) (*deletions, error) {
	socket, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	d := &deletions{socket: &nl.SocketHandle{Socket: socket}, log: log, pending: make(map[string]*deletion)}
	d.delete = d.deleteLinks
	return d, nil
}

// begin has a device deleted.
func (d *deletions) begin(link netlink.Link) *deletion {
	d.mu.Lock()
	defer d.mu.Unlock()
	one := &deletion{link: link, done: make(chan struct{})}
	d.pending[link.Attrs().Name] = one
	d.next = append(d.next, one)
	if !d.running {
		d.running = true
		d.ended.Go(d.run)
	}
	return one
}

func (d *deletions) run() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.next) > 0 {
		batch := d.next
		d.next = nil
		d.mu.Unlock()
		links := make([]netlink.Link, len(batch))
		for i, one := range batch {
			links[i] = one.link
		}
		errs := d.delete(links)
		d.mu.Lock()
		for i, one := range batch {
			one.err = errs[i]
			d.end(one)
		}
	}
	d.running = false
}

// end tells that a deletion is over. mu is held.
func (d *deletions) end(one *deletion) {
	name := one.link.Attrs().Name
	delete(d.pending, name)
	if one.err != nil {
		d.log.Warn("endpoint's device not deleted; trying again", "device", name, "err", one.err)
	} else {
		d.log.Info("endpoint's device deleted", "device", name)
	}
	close(one.done)
}

// deleteLinks deletes devices together, or one by one if that does not go.
func (d *deletions) deleteLinks(links []netlink.Link) []error {
	errs := make([]error, len(links))
	if len(links) > 1 && d.deleteTogether(links) == nil {
		return errs
	}
	for i, link := range links {
		if err := d.ask(unix.RTM_DELLINK, link.Attrs().Index); err != nil {
			errs[i] = fmt.Errorf("delete %s: %w", link.Attrs().Name, err)
		}
	}
	return errs
}

func (d *deletions) deleteTogether(links []netlink.Link) error {
	group := nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(leavingGroup))
	for _, link := range links {
		if err := d.ask(unix.RTM_SETLINK, link.Attrs().Index, group); err != nil {
			return err
		}
	}
	return d.ask(unix.RTM_DELLINK, 0, group)
}

// ask makes a request about one device, or about those of a group. One that is
// gone is as it should be. The library has no deletion of groups.
func (d *deletions) ask(what, ifindex int, attributes ...*nl.RtAttr) error {
	request := nl.NewNetlinkRequest(what, unix.NLM_F_ACK)
	request.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: d.socket}
	header := nl.NewIfInfomsg(unix.AF_UNSPEC)
	header.Index = int32(ifindex)
	request.AddData(header)
	for _, a := range attributes {
		request.AddData(a)
	}
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// list returns what is being deleted.
func (d *deletions) list() []*deletion {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Values(d.pending))
}

// of finds the deletion of an endpoint's device, nil if none is under way.
func (d *deletions) of(key Key) *deletion {
	for _, one := range d.list() {
		if a := one.link.Attrs(); a.Alias == alias(key) || a.Name == vethName(key) {
			return one
		}
	}
	return nil
}

// wait returns when a device of this name is not being deleted.
func (d *deletions) wait(ctx context.Context, name string) error {
	d.mu.Lock()
	one := d.pending[name]
	d.mu.Unlock()
	if one == nil {
		return nil
	}
	return one.wait(ctx)
}

// wait returns when the device is gone.
func (d *deletion) wait(ctx context.Context) error {
	select {
	case <-d.done:
		return d.err
	case <-ctx.Done():
		return fmt.Errorf("await the deletion of %s: %w", d.link.Attrs().Name, ctx.Err())
	}
}

// waitAll returns when all of the devices are gone.
func waitAll(ctx context.Context, all []*deletion) error {
	var errs []error
	for _, one := range all {
		errs = append(errs, one.wait(ctx))
	}
	return errors.Join(errs...)
}

// close ends when the kernel has answered: it is not to be asked without a
// socket.
func (d *deletions) close() {
	d.ended.Wait()
	d.socket.Close()
}

// AwaitGone returns when the device of an endpoint that is not wanted any more is
// deleted. [Datapath.Change] has cut it off before, and does not wait for that.
func (d *Datapath) AwaitGone(ctx context.Context, key Key) error {
	if one := d.deletions.of(key); one != nil {
		return one.wait(ctx)
	}
	return nil
}
