package isolation

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/policy"
)

// Flow is what the datapath keeps of a connection, as one endpoint sees it.
type Flow struct {
	Endpoint Key
	// Protocol is the IP protocol number.
	Protocol uint8
	// Local is the endpoint's side. Of an ICMP echo, its port is the identifier.
	Local, Remote netip.AddrPort
	// Origin is the direction in which it began.
	Origin policy.Direction
	State  FlowState
	// Age is the time since it began, Idle since its last packet (by the second),
	// Remaining until it is forgotten if it stays silent.
	Age, Idle, Remaining time.Duration
	// Rule is the number of the rule that let it begin.
	Rule uint32
	// Judged is false if rules have changed since its last packet: the next one
	// is asked about again.
	Judged bool
}

// FlowFilter says which flows are meant. What is zero does not count.
type FlowFilter struct {
	VNI           uint32
	Endpoint      string
	Protocol      uint8
	Local, Remote netip.Prefix
	// LocalPort and RemotePort are of protocols with ports.
	LocalPort, RemotePort uint16
	State                 FlowState
}

func (f *FlowFilter) matches(flow *Flow) bool {
	return (f.VNI == 0 || f.VNI == flow.Endpoint.VNI) &&
		(f.Endpoint == "" || f.Endpoint == flow.Endpoint.Name) &&
		(f.Protocol == 0 || f.Protocol == flow.Protocol) &&
		(!f.Local.IsValid() || f.Local.Contains(flow.Local.Addr())) &&
		(!f.Remote.IsValid() || f.Remote.Contains(flow.Remote.Addr())) &&
		(f.LocalPort == 0 || f.LocalPort == flow.Local.Port()) &&
		(f.RemotePort == 0 || f.RemotePort == flow.Remote.Port()) &&
		(f.State == "" || f.State == flow.State)
}

// Flows are the flows that have not run out. They change while they are read: one
// that begins meanwhile may be missing. An error ends the sequence.
func (d *Datapath) Flows(ctx context.Context, filter FlowFilter) iter.Seq2[Flow, error] {
	return func(yield func(Flow, error) bool) {
		err := d.eachFlow(ctx, filter, func(_ *edgenetFlowKey, flow *Flow) bool { return yield(*flow, nil) })
		if err != nil {
			yield(Flow{}, err)
		}
	}
}

// FlushFlows forgets the flows that are meant, and says how many. Their next
// packets are judged as those of new ones.
func (d *Datapath) FlushFlows(ctx context.Context, filter FlowFilter) (int, error) {
	var keys []edgenetFlowKey
	err := d.eachFlow(ctx, filter, func(key *edgenetFlowKey, _ *Flow) bool {
		keys = append(keys, *key)
		return true
	})
	if err != nil {
		return 0, err
	}
	d.flowsMu.Lock()
	defer d.flowsMu.Unlock()
	if d.budgets == nil {
		return 0, errClosed
	}
	served, err := d.served()
	if err != nil {
		return 0, err
	}
	flushed := 0
	for i := range keys {
		gone, err := d.forget(&keys[i], served.byID)
		if err != nil {
			return flushed, err
		}
		if gone {
			flushed++
		}
	}
	return flushed, nil
}

var errClosed = errors.New("the datapath is closed")

// eachFlow calls yield for every flow that is meant, until it says false.
func (d *Datapath) eachFlow(ctx context.Context, filter FlowFilter, yield func(*edgenetFlowKey, *Flow) bool) error {
	names, err := flowStateNames()
	if err != nil {
		return err
	}
	d.flowsMu.Lock()
	defer d.flowsMu.Unlock()
	if d.budgets == nil {
		return fmt.Errorf("read flows: %w", errClosed)
	}
	served, err := d.served()
	if err != nil {
		return err
	}
	now := monotonic()
	walk := flowWalk{flows: d.maps.Flows}
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("read flows: %w", err)
		}
		if more, err = walk.next(); err != nil {
			return err
		}
		for i := range walk.n {
			flow := served.flow(&walk.keys[i], &walk.values[i], now)
			flow.State = FlowState(names[uint32(walk.values[i].State)])
			if flow.Remaining <= 0 || flow.Endpoint.Name == "" || !filter.matches(&flow) {
				continue
			}
			if !yield(&walk.keys[i], &flow) {
				return nil
			}
		}
	}
	return nil
}

// flow is a flow of the kernel's as people see it, but for the name of its state.
func (s *served) flow(key *edgenetFlowKey, value *edgenetFlow, now time.Duration) Flow {
	idle := max(0, now-time.Duration(value.Seen))
	flow := Flow{
		Endpoint:  s.byID[key.Endpoint].key,
		Protocol:  key.Protocol,
		Local:     netip.AddrPortFrom(netip.AddrFrom16(key.Local.Bytes).Unmap(), key.LocalPort),
		Remote:    netip.AddrPortFrom(netip.AddrFrom16(key.Remote.Bytes).Unmap(), key.RemotePort),
		Origin:    directionOf(edgenetDirection(value.Origin)),
		Age:       max(0, now-time.Duration(value.Began)),
		Idle:      idle,
		Remaining: s.timeouts[value.State%uint8(len(s.timeouts))] - idle,
		Rule:      value.Rule,
		Judged:    value.Generation == s.generation,
	}
	if key.Protocol == unix.IPPROTO_ICMP || key.Protocol == unix.IPPROTO_ICMPV6 {
		// Who asks stands in the place of the port.
		flow.Remote = netip.AddrPortFrom(flow.Remote.Addr(), 0)
	}
	return flow
}

func directionOf(d edgenetDirection) policy.Direction {
	if d == edgenetDirectionEGRESS {
		return policy.Egress
	}
	return policy.Ingress
}

// monotonic is the time by the clock that programs read.
func monotonic() time.Duration {
	var t unix.Timespec
	// The clock exists on every kernel: there is no error to have.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return time.Duration(t.Nano())
}

// flowBatch is how many flows are read by one system call, at least: a bucket is
// never divided.
const flowBatch = 2048

// flowWalk reads the table of flows piece by piece.
type flowWalk struct {
	flows  *ebpf.Map
	cursor ebpf.MapBatchCursor
	keys   [flowBatch]edgenetFlowKey
	values [flowBatch]edgenetFlow
	n      int
}

// next reads the next piece, and says whether there may be more.
func (w *flowWalk) next() (more bool, err error) {
	w.n, err = w.flows.BatchLookup(&w.cursor, w.keys[:], w.values[:], nil)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read flows: %w", err)
	}
	return true, nil
}
