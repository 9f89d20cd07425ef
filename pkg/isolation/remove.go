package isolation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Remove takes away everything that was made here, whichever process made it:
// devices, programs, and with them the maps. What edgenet did not make stays.
func (d *Datapath) Remove(ctx context.Context) error {
	err := d.removeAll(ctx)
	return errors.Join(err, waitAll(ctx, d.deletions.list()))
}

func (d *Datapath) removeAll(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tables == nil {
		return errors.New("remove datapath: it is closed")
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("remove datapath: %w", err)
	}
	links, err := d.listLinks()
	if err != nil {
		return err
	}
	none, found := &State{}, &seen{links: links}
	err = d.cutOff(none, found)
	_, removing := d.removeDevices(none, found)
	return errors.Join(err, removing)
}

// RemoveAll is [Datapath.Remove] for where [Open] cannot adopt what is running:
// it finds everything by the devices' marks and the programs' names. A nil
// logger means none.
func RemoveAll(ctx context.Context, logger *slog.Logger) error {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer nl.Close()
	deletions, err := openDeletions(logger)
	if err != nil {
		return err
	}
	defer deletions.close()
	d := &Datapath{log: logger, nl: nl, attached: make(map[int]bool), deletions: deletions}
	links, err := d.listLinks()
	if err != nil {
		return err
	}
	var errs []error
	for ifindex := range links.byIndex {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("remove datapath: %w", err)
		}
		own, err := d.findOwn(ifindex)
		errs = append(errs, err)
		if own != "" {
			d.attached[ifindex] = true
		}
	}
	begun, err := d.removeDevices(&State{}, &seen{links: links})
	return errors.Join(append(errs, err, waitAll(ctx, begun))...)
}

// findOwn returns the name of edgenet's program on a device, empty if there is
// none.
func (d *Datapath) findOwn(ifindex int) (string, error) {
	for _, h := range allHooks(d.nl) {
		p, _, err := d.ownProgram(h, ifindex, 0)
		if err != nil {
			return "", err
		}
		if p == nil {
			continue
		}
		info, err := p.Info()
		if err != nil {
			return "", errors.Join(fmt.Errorf("read program: %w", err), p.Close())
		}
		return info.Name, p.Close()
	}
	return "", nil
}
