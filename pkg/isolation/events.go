package isolation

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf/ringbuf"

	"edgenet.dev/edgenet/pkg/policy"
)

// EventKind is a kind of what the datapath tells.
type EventKind string

// The kinds of events.
const (
	// EventDrop is a packet that was dropped.
	EventDrop EventKind = "drop"
	// EventFlow is a flow that began.
	EventFlow EventKind = "flow"
	// EventShadow is a flow that candidate rules judge otherwise than those in
	// force.
	EventShadow EventKind = "shadow"
	// EventAnnouncement is an endpoint that says, by gratuitous ARP or an
	// unsolicited neighbour advertisement, that it has an address now.
	EventAnnouncement EventKind = "announcement"
)

var eventKinds = map[EventKind]edgenetEventKind{
	EventDrop:         edgenetEventKindEVENT_DROP,
	EventFlow:         edgenetEventKindEVENT_FLOW,
	EventShadow:       edgenetEventKindEVENT_SHADOW,
	EventAnnouncement: edgenetEventKindEVENT_ANNOUNCEMENT,
}

// Event is something that happened to a packet.
type Event struct {
	Kind EventKind
	Time time.Time
	// Endpoint whose event it is; zero for a drop that is nobody's.
	Endpoint Key
	// Direction is egress for what the endpoint sent.
	Direction policy.Direction
	// Reason of a drop.
	Reason string
	// Source and Destination are invalid where a packet has none, or none that
	// can be read: ARP, for instance. Of an announcement, Source is the address.
	Source, Destination netip.Addr
	Protocol            uint8
	// SourcePort and DestinationPort are of TCP, UDP and SCTP, and the identifier
	// of an ICMP echo.
	SourcePort, DestinationPort uint16
	// Length is of the frame, in bytes, of a flow's packet without link header.
	Length int
	// Rule and Shadow are the rules that decide, and those of the candidate. 0 is
	// the default.
	Rule, Shadow uint32
	// Allowed and ShadowAllowed say how.
	Allowed, ShadowAllowed bool
}

const (
	// eventsEvery is how often the ring buffer is looked at: nobody is woken up.
	eventsEvery = 50 * time.Millisecond
	// watchRoom is how many events a watcher may be behind.
	watchRoom = 1024
	// slotsFor is how many events are named by one look at the endpoints.
	slotsFor = 256
	// ruleDenied is RULE_DENIES in bpf/types.h.
	ruleDenied = 1 << 31
)

// Watch receives events. They are a sample: each CPU tells so many of a kind in a
// moment, and a watcher that is slow loses some.
type Watch struct {
	kinds   uint32
	events  chan Event
	leftOut atomic.Uint64
}

// Events ends when the watch does.
func (w *Watch) Events() <-chan Event { return w.events }

// LeftOut is how many events of the watch's kinds were left out since it began.
func (w *Watch) LeftOut() uint64 { return w.leftOut.Load() }

// watchers are those who watch, and the one who reads for them.
type watchers struct {
	mu     sync.Mutex
	all    map[*Watch]bool
	reader *ringbuf.Reader
	ended  chan struct{}
}

// Watch tells what happens from now on, until ctx is done. What nobody watches
// costs nothing.
func (d *Datapath) Watch(ctx context.Context, kinds ...EventKind) (*Watch, error) {
	w := &Watch{events: make(chan Event, watchRoom)}
	for _, kind := range kinds {
		number, ok := eventKinds[kind]
		if !ok {
			return nil, fmt.Errorf("watch: %q is no kind of event", kind)
		}
		w.kinds |= 1 << number
	}
	if err := d.addWatch(w); err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	context.AfterFunc(ctx, func() { d.removeWatch(w) })
	return w, nil
}

func (d *Datapath) addWatch(w *Watch) error {
	ws := &d.watchers
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.reader == nil {
		d.mu.Lock()
		closed := d.tables == nil
		d.mu.Unlock()
		if closed {
			return errClosed
		}
		reader, err := ringbuf.NewReader(d.maps.Events)
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		leftOut, err := d.leftOut()
		if err != nil {
			return errors.Join(err, reader.Close())
		}
		ws.reader, ws.ended = reader, make(chan struct{})
		go d.readEvents(reader, leftOut, ws.ended)
	}
	if ws.all == nil {
		ws.all = make(map[*Watch]bool)
	}
	ws.all[w] = true
	return d.setWatched(ws.kinds())
}

// removeWatch ends a watch, and the reader with the last.
func (d *Datapath) removeWatch(w *Watch) {
	ws := &d.watchers
	ws.mu.Lock()
	if !ws.all[w] {
		ws.mu.Unlock()
		return
	}
	delete(ws.all, w)
	close(w.events)
	// A datapath that is closed is watched by nobody.
	_ = d.setWatched(ws.kinds())
	var ended chan struct{}
	if len(ws.all) == 0 && ws.reader != nil {
		_ = ws.reader.Close()
		ws.reader, ended = nil, ws.ended
	}
	ws.mu.Unlock()
	if ended != nil {
		<-ended
	}
}

// endWatches ends all of them.
func (d *Datapath) endWatches() {
	d.watchers.mu.Lock()
	all := make([]*Watch, 0, len(d.watchers.all))
	for w := range d.watchers.all {
		all = append(all, w)
	}
	d.watchers.mu.Unlock()
	for _, w := range all {
		d.removeWatch(w)
	}
}

func (ws *watchers) kinds() uint32 {
	var kinds uint32
	for w := range ws.all {
		kinds |= w.kinds
	}
	return kinds
}

// setWatched tells programs which events anyone wants.
func (d *Datapath) setWatched(kinds uint32) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tables == nil {
		return errClosed
	}
	atomic.StoreUint32(&d.tables.state.Watched, kinds)
	return nil
}

// readEvents hands out events until the reader is closed. leftOut is how many were
// left out before.
func (d *Datapath) readEvents(reader *ringbuf.Reader, leftOut byKind, ended chan struct{}) {
	defer close(ended)
	var record ringbuf.Record
	var slots map[uint32]Key
	for n := 0; ; n++ {
		reader.SetDeadline(time.Now().Add(eventsEvery))
		err := reader.ReadInto(&record)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if now, err := d.leftOut(); err == nil {
				d.watchers.lose(leftOut, now)
				leftOut = now
			}
			slots = nil
			continue
		}
		if err != nil {
			if !errors.Is(err, ringbuf.ErrClosed) {
				d.log.Error("events cannot be read", "err", err)
			}
			return
		}
		// Who has which place is asked once for those that come together.
		if slots == nil || n%slotsFor == 0 {
			slots = d.slots()
		}
		d.handOut(record.RawSample, slots)
	}
}

// byKind has a number of events of each kind.
type byKind [edgenetEventKindEVENT_MAX]uint64

// leftOut is how many events programs have not told.
func (d *Datapath) leftOut() (byKind, error) {
	var n byKind
	for kind := range n {
		var perCPU []edgenetEventLimit
		if err := d.maps.EventLimits.Lookup(uint32(kind), &perCPU); err != nil {
			return n, fmt.Errorf("read events left out: %w", err)
		}
		for _, limit := range perCPU {
			n[kind] += limit.LeftOut
		}
	}
	return n, nil
}

// lose tells watchers how many events were left out.
func (ws *watchers) lose(before, now byKind) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for kind := range now {
		for w := range ws.all {
			if w.kinds&(1<<kind) != 0 {
				w.leftOut.Add(now[kind] - before[kind])
			}
		}
	}
}

// handOut gives an event to those who watch its kind. Nobody is waited for.
func (d *Datapath) handOut(sample []byte, slots map[uint32]Key) {
	var raw edgenetEvent
	if err := binary.Read(bytes.NewReader(sample), binary.NativeEndian, &raw); err != nil {
		d.log.Warn("an event cannot be understood", "err", err)
		return
	}
	event, ok := d.event(&raw, slots)
	if !ok {
		return
	}
	d.watchers.mu.Lock()
	defer d.watchers.mu.Unlock()
	for w := range d.watchers.all {
		if w.kinds&(1<<raw.Kind) == 0 {
			continue
		}
		select {
		case w.events <- event:
		default:
			w.leftOut.Add(1)
		}
	}
}

// event is an event of the kernel's as people see it.
func (d *Datapath) event(raw *edgenetEvent, slots map[uint32]Key) (Event, bool) {
	e := Event{
		Time:     time.Now().Add(time.Duration(raw.Time) - monotonic()),
		Endpoint: slots[raw.Slot], Direction: directionOf(edgenetDirection(raw.Direction)),
		Protocol: raw.Protocol, SourcePort: raw.SourcePort, DestinationPort: raw.DestinationPort,
		Length: int(raw.Length),
	}
	for kind, number := range eventKinds {
		if number == raw.Kind {
			e.Kind = kind
		}
	}
	switch e.Kind {
	case EventDrop:
		names, err := reasonNames()
		if err != nil {
			return e, false
		}
		e.Reason = names[uint32(raw.Reason)]
		packet := raw.Packet[:min(raw.Captured, uint32(len(raw.Packet)))]
		link := etherHeader
		if raw.Direction != uint8(edgenetDirectionEGRESS) {
			link = linkOf(packet, e.Length)
		}
		e.read(packet, link)
	case EventFlow, EventShadow:
		e.Source = netip.AddrFrom16(raw.Source.Bytes).Unmap()
		e.Destination = netip.AddrFrom16(raw.Destination.Bytes).Unmap()
		e.Rule, e.Allowed = raw.Rule&^ruleDenied, raw.Rule&ruleDenied == 0
		e.Shadow, e.ShadowAllowed = raw.ShadowRule&^ruleDenied, raw.ShadowRule&ruleDenied == 0
	case EventAnnouncement:
		e.Source = netip.AddrFrom16(raw.Source.Bytes).Unmap()
	default:
		return e, false
	}
	return e, true
}

// ofSlot is the endpoint that has a place in the arrays.
func (d *Datapath) ofSlot(slot uint32) Key { return d.slots()[slot] }

// slots says which endpoint has which place.
func (d *Datapath) slots() map[uint32]Key {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tables == nil {
		return nil
	}
	slots := make(map[uint32]Key, len(d.tables.endpoints.have))
	for _, e := range d.tables.endpoints.have {
		slots[e.Slot] = keyOf(&e)
	}
	return slots
}
