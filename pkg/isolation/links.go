package isolation

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// linkTable is the host's devices as far as they have been looked at.
type linkTable struct {
	byName  map[string]netlink.Link
	byIndex map[int]netlink.Link
}

func (t linkTable) add(link netlink.Link) {
	t.byName[link.Attrs().Name] = link
	t.byIndex[link.Attrs().Index] = link
}

func (t linkTable) remove(link netlink.Link) {
	delete(t.byName, link.Attrs().Name)
	delete(t.byIndex, link.Attrs().Index)
}

// listLinks lists the devices, but for those that are being deleted.
func (d *Datapath) listLinks() (linkTable, error) {
	leaving := d.deletions.list()
	links, err := d.nl.LinkList()
	// A dump that was interrupted by a change is asked for again.
	for try := 0; errors.Is(err, netlink.ErrDumpInterrupted) && try < 5; try++ {
		links, err = d.nl.LinkList()
	}
	if err != nil {
		return linkTable{}, fmt.Errorf("list devices: %w", err)
	}
	t := linkTable{byName: make(map[string]netlink.Link, len(links)), byIndex: make(map[int]netlink.Link, len(links))}
	for _, l := range links {
		t.add(l)
	}
	for _, one := range leaving {
		if there := t.byIndex[one.link.Attrs().Index]; there != nil {
			t.remove(there)
		}
	}
	return t, nil
}

// otherDevices tells whether a device that packets leave by is another than the one
// that was last seen under its name. There are few, to however many nodes they lead.
func (d *Datapath) otherDevices(want *State) bool {
	names := make(map[string]bool, len(want.Tunnels)+1)
	for _, name := range want.Tunnels {
		names[name] = true
	}
	for _, n := range want.Nodes {
		names[n.Device] = true
	}
	for name := range names {
		link, err := d.nl.LinkByName(name)
		known := d.last.links.byName[name]
		if err != nil || known == nil || link.Attrs().Index != known.Attrs().Index {
			return true
		}
	}
	return false
}

func isUp(link netlink.Link) bool { return link.Attrs().Flags&net.FlagUp != 0 }

func isReadOnly(err error) bool { return errors.Is(err, unix.EROFS) }

// recheckAfter bounds how long a change inside a container stays unnoticed.
const recheckAfter = time.Minute

// checked is what was seen when an endpoint's wiring was last known to be right.
// As long as it is seen again, there is no need to enter the namespace.
type checked struct {
	wanted  string
	host    string
	inode   uint64
	expires time.Time
}

func wantedWiring(e *Endpoint) string {
	return fmt.Sprint(e.Kind, e.Addresses, e.Routed, e.Networks, e.MAC, e.Netns, e.Ifname, e.Device, e.MTU)
}

func seenWiring(link netlink.Link) string {
	a := link.Attrs()
	return fmt.Sprint(a.Index, a.ParentIndex, a.NetNsID, a.Alias, a.MTU, a.HardwareAddr, isUp(link))
}

func (d *Datapath) isChecked(e *Endpoint, link netlink.Link, inode uint64) bool {
	c, ok := d.checked[e.Key]
	// The other end is down or gone: somebody has been there.
	broken := link.Attrs().OperState == netlink.OperLowerLayerDown
	return ok && !broken && c.inode == inode && c.wanted == wantedWiring(e) && c.host == seenWiring(link) && d.now().Before(c.expires)
}

// markChecked remembers that an endpoint's wiring is right. If the look at the
// device is outdated, the next round checks again.
func (d *Datapath) markChecked(e *Endpoint, link netlink.Link, inode uint64) {
	d.checked[e.Key] = checked{
		wanted: wantedWiring(e), host: seenWiring(link), inode: inode, expires: d.now().Add(recheckAfter),
	}
}
