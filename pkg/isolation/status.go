package isolation

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/cilium/ebpf/btf"
)

// Status tells what is true of the endpoints that the datapath serves.
func (d *Datapath) Status(ctx context.Context) (map[Key]Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tables == nil {
		return nil, errors.New("read status: the datapath is closed")
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read status: %w", err)
	}
	links, err := d.listLinks()
	if err != nil {
		return nil, err
	}
	all := make(map[Key]Status, len(d.tables.endpoints.have))
	for ifindex, e := range d.tables.endpoints.have {
		link := links.byIndex[int(ifindex)]
		if link == nil {
			continue
		}
		if all[keyOf(&e)], err = d.statusOf(link.Attrs().Name, &e); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// EndpointStatus is [Datapath.Status] of one endpoint, as the last call of Apply
// or Change left it. It is false for one that the datapath does not serve.
func (d *Datapath) EndpointStatus(key Key) (Status, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tables == nil {
		return Status{}, false, errors.New("read status: the datapath is closed")
	}
	w, ok := d.last.wires[key]
	if !ok {
		return Status{}, false, nil
	}
	e, ok := d.tables.endpoints.have[w.wired.ifindex]
	if !ok {
		return Status{}, false, nil
	}
	one, err := d.statusOf(w.wired.name, &e)
	return one, err == nil, err
}

func (d *Datapath) statusOf(device string, e *edgenetEndpoint) (one Status, err error) {
	one.Device = device
	if one.MAC, err = d.macOf(e); err != nil {
		return one, err
	}
	one.Counters, err = d.counters(e.Slot)
	return one, err
}

// GlobalDrops are the drops that belong to no endpoint of this host, by reason.
func (d *Datapath) GlobalDrops() (map[string]uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tables == nil {
		return nil, errors.New("read drops: the datapath is closed")
	}
	c, err := d.counters(0)
	return c.Drops, err
}

// macOf is the MAC that an endpoint has or was heard to use.
func (d *Datapath) macOf(e *edgenetEndpoint) (net.HardwareAddr, error) {
	if e.Mac != [6]uint8{} {
		return e.Mac[:], nil
	}
	mac, err := d.learnedMAC(e.Slot)
	if err != nil || mac == 0 {
		return nil, err
	}
	return binary.BigEndian.AppendUint64(nil, mac)[2:], nil
}

func (d *Datapath) counters(slot uint32) (Counters, error) {
	sum := Counters{Drops: make(map[string]uint64)}
	perCPU, err := d.tables.accounts(slot)
	if err != nil {
		return sum, err
	}
	for _, c := range perCPU {
		sum.RxPackets += c.RxPackets
		sum.RxBytes += c.RxBytes
		sum.TxPackets += c.TxPackets
		sum.TxBytes += c.TxBytes
		sum.Flows += c.Flows
		sum.ShadowAllows += c.ShadowAllows
		sum.ShadowDrops += c.ShadowDrops
	}
	var lost edgenetDropped
	if err := d.maps.Drops.Lookup(slot, &lost); err != nil {
		return sum, fmt.Errorf("read drops: %w", err)
	}
	names, err := reasonNames()
	if err != nil {
		return sum, err
	}
	for reason, n := range lost.Packets {
		if n > 0 {
			sum.Drops[names[uint32(reason)]] += n
		}
	}
	return sum, nil
}

// DropReasons are all reasons for which packets are dropped, sorted.
func DropReasons() ([]string, error) {
	names, err := reasonNames()
	if err != nil {
		return nil, err
	}
	reasons := make([]string, 0, len(names))
	for number, name := range names {
		if number != uint32(edgenetReasonREASON_NONE) && number != uint32(edgenetReasonREASON_MAX) {
			reasons = append(reasons, name)
		}
	}
	slices.Sort(reasons)
	return reasons, nil
}

// reasonNames are the reasons for drops as people see them.
var reasonNames = sync.OnceValues(func() (map[uint32]string, error) { return enumNames("reason", "REASON_") })

// enumNames are the names of an enum in bpf/types.h as people see them, taken
// from the type information of the object itself.
func enumNames(enum, prefix string) (map[uint32]string, error) {
	spec, err := loadEdgenet()
	if err != nil {
		return nil, fmt.Errorf("read datapath: %w", err)
	}
	var found *btf.Enum
	if err := spec.Types.TypeByName(enum, &found); err != nil {
		return nil, fmt.Errorf("read enum %s: %w", enum, err)
	}
	names := make(map[uint32]string, len(found.Values))
	for _, v := range found.Values {
		name := strings.ToLower(strings.TrimPrefix(v.Name, prefix))
		names[uint32(v.Value)] = strings.ReplaceAll(name, "_", "-")
	}
	return names, nil
}
