package isolation

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/cilium/ebpf"

	"edgenet.dev/edgenet/pkg/policy"
)

// Probe is a packet that is asked about.
type Probe struct {
	VNI                 uint32
	Source, Destination netip.Addr
	// Protocol is the IP protocol number.
	Protocol uint8
	// SourcePort and DestinationPort are of TCP, UDP and SCTP.
	SourcePort, DestinationPort uint16
	// Type and Code are of ICMP and ICMPv6.
	Type, Code uint8
	// Node is the /64 of the node that the packet comes from through the tunnel,
	// invalid for one of this host's own.
	Node netip.Prefix
}

// JudgedBy says what lets a packet pass, or not.
type JudgedBy string

// What may judge a packet.
const (
	// ByRules is a packet that rules were asked about.
	ByRules JudgedBy = "rules"
	// ByFlow is a packet of a flow that is known.
	ByFlow JudgedBy = "flow"
	// ByRelated is an ICMP error about a flow that is known.
	ByRelated JudgedBy = "related"
)

// TraceSide is what one endpoint of this host says of a packet.
type TraceSide struct {
	Endpoint Key
	By       JudgedBy
	// Rule is the number of the rule that decides, or that let the flow begin; 0
	// is the default. Allowed says how.
	Rule    uint32
	Allowed bool
	// Policy, Identity, Protocol and Port are what the table was asked for, if
	// rules were. Port is type<<8 | code for ICMP.
	Policy   policy.ID
	Identity policy.Identity
	Protocol uint8
	Port     uint16
	// Shadow is what candidate rules say; it is Rule if there are none.
	Shadow        uint32
	ShadowAllowed bool
	// Origin and State are of the flow, if there is one.
	Origin policy.Direction
	State  FlowState
}

// Trace is what the loaded program would do with a packet.
type Trace struct {
	// Reason is why it would be dropped, empty if it would not be. DroppedAt is
	// the endpoint whose drop it would be, zero for nobody's.
	Reason    string
	DroppedAt Key
	// Endpoint is who would get it, Node the other node that it would go to. If
	// both are zero and Reason is empty, the gateway answers it.
	Endpoint Key
	Node     netip.Prefix
	// Egress is what its sender says, Ingress its receiver. They are nil if they
	// were not asked, and for what is on another host.
	Egress, Ingress *TraceSide
}

// Trace sends a made packet through the loaded program, and says what was decided
// about it. Nothing follows from it: no packet leaves, nothing is counted, no flow
// begins.
func (d *Datapath) Trace(ctx context.Context, p Probe) (Trace, error) {
	if err := ctx.Err(); err != nil {
		return Trace{}, fmt.Errorf("trace: %w", err)
	}
	d.traceMu.Lock()
	defer d.traceMu.Unlock()
	run, err := d.probe(&p)
	if err != nil {
		return Trace{}, fmt.Errorf("trace: %w", err)
	}
	defer func() { _ = run.program.Close() }()
	if err := d.maps.Traces.Put(uint32(0), &edgenetTrace{}); err != nil {
		return Trace{}, fmt.Errorf("trace: clear the last one: %w", err)
	}
	verdict, err := run.program.Run(&ebpf.RunOptions{Data: run.packet, Context: run.context})
	if err != nil {
		return Trace{}, fmt.Errorf("trace: run the loaded program: %w", err)
	}
	if verdict != actShot {
		return Trace{}, fmt.Errorf("trace: the loaded program does not know the mark: it returned %d", verdict)
	}
	var raw edgenetTrace
	if err := d.maps.Traces.Lookup(uint32(0), &raw); err != nil {
		return Trace{}, fmt.Errorf("trace: read what was decided: %w", err)
	}
	return d.traceOf(&raw)
}

// actShot is TC_ACT_SHOT (linux/pkt_cls.h).
const actShot = 2

// probeRun is all that a run of a program needs.
type probeRun struct {
	program         *ebpf.Program
	packet, context []byte
}

// probe chooses the program, and makes the packet.
func (d *Datapath) probe(p *Probe) (*probeRun, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tables == nil {
		return nil, errClosed
	}
	if p.Source.Is4() != p.Destination.Is4() {
		return nil, fmt.Errorf("%v and %v are not of one family", p.Source, p.Destination)
	}
	mark := d.tables.traceMark()
	run := &probeRun{}
	loaded := d.fromTunnel
	if p.Node.IsValid() {
		run.packet = p.overlay(d.cfg.NodePrefix)
		run.context = probeContext(mark, 0)
	} else {
		e, ok := d.sender(p)
		if !ok {
			return nil, fmt.Errorf("no endpoint of this host has %v in VPC %d", p.Source, p.VNI)
		}
		mac, err := d.macOf(&e)
		if err != nil {
			return nil, err
		}
		loaded = d.fromEndpoint
		run.packet = p.frame(mac)
		run.context = probeContext(mark, e.Ifindex)
	}
	var err error
	// Closing the datapath shall not take it away meanwhile.
	if run.program, err = loaded.Clone(); err != nil {
		return nil, fmt.Errorf("hold the loaded program: %w", err)
	}
	return run, nil
}

// sender is the endpoint of this host behind which an address is.
func (d *Datapath) sender(p *Probe) (edgenetEndpoint, bool) {
	key := edgenetAddressKey{Vni: p.VNI}
	key.Address.Bytes = p.Source.As16()
	var (
		ifindex uint32
		found   edgenetAddress
		active  = d.tables.active()
	)
	if err := d.maps.Addresses.LookupWithFlags(&key, &found, ebpf.LookupLock); err == nil {
		ifindex = found.Places[active].Ifindex
	} else {
		var route edgenetRoute
		at := edgenetRouteKey{Length: 32 + 128, Vni: networkOrder(p.VNI), Prefix: key.Address}
		if err := d.maps.Routes.Lookup(&at, &route); err != nil {
			return edgenetEndpoint{}, false
		}
		ifindex = route.Places[active].Ifindex
	}
	e, ok := d.tables.endpoints.have[ifindex]
	return e, ok
}

// networkOrder is a number as it stands in a packet, read by this host.
func networkOrder(n uint32) uint32 {
	return binary.NativeEndian.Uint32(binary.BigEndian.AppendUint32(nil, n))
}

// traceMark is the mark by which made packets are known. It is secret, so that
// nobody else makes some.
func (t *tables) traceMark() uint32 {
	for t.state.TraceMark == 0 {
		var b [4]byte
		_, _ = rand.Read(b[:]) // It never fails: crypto/rand crashes instead.
		atomic.StoreUint32(&t.state.TraceMark, binary.NativeEndian.Uint32(b[:]))
	}
	return t.state.TraceMark
}

// probeContext is struct __sk_buff (linux/bpf.h) with a mark and a device.
func probeContext(mark, ifindex uint32) []byte {
	const size, markAt, ifindexAt = 192, 8, 40
	b := make([]byte, size)
	binary.NativeEndian.PutUint32(b[markAt:], mark)
	// The kernel takes the loopback for itself, and refuses it.
	if ifindex != 1 {
		binary.NativeEndian.PutUint32(b[ifindexAt:], ifindex)
	}
	return b
}

func (d *Datapath) traceOf(raw *edgenetTrace) (Trace, error) {
	reasons, err := reasonNames()
	if err != nil {
		return Trace{}, err
	}
	states, err := flowStateNames()
	if err != nil {
		return Trace{}, err
	}
	served, err := d.served()
	if err != nil {
		return Trace{}, err
	}
	var t Trace
	for direction := range raw.Sides {
		if side := served.side(&raw.Sides[direction], states); edgenetDirection(direction) == edgenetDirectionEGRESS {
			t.Egress = side
		} else {
			t.Ingress = side
		}
	}
	if raw.Reason != 0 {
		t.Reason, t.DroppedAt = reasons[raw.Reason], d.ofSlot(raw.Slot)
		return t, nil
	}
	if raw.Gateway != 0 {
		return t, nil
	}
	if raw.Ifindex == 0 && raw.Node == 0 {
		return t, errors.New("the loaded program has let the packet go")
	}
	if raw.Node != 0 {
		var b [16]byte
		binary.NativeEndian.PutUint64(b[:], raw.Node)
		t.Node = netip.PrefixFrom(netip.AddrFrom16(b), 64)
		return t, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tables == nil {
		return t, errClosed
	}
	if e, ok := d.tables.endpoints.have[raw.Ifindex]; ok {
		t.Endpoint = keyOf(&e)
	}
	return t, nil
}

func (s *served) side(raw *edgenetTraceSide, states map[uint32]string) *TraceSide {
	side := &TraceSide{
		Endpoint: s.byID[raw.Endpoint].key,
		Rule:     raw.Rule &^ ruleDenied, Allowed: raw.Rule&ruleDenied == 0,
		Shadow: raw.ShadowRule &^ ruleDenied, ShadowAllowed: raw.ShadowRule&ruleDenied == 0,
		Policy: policy.ID(raw.Policy), Identity: policy.Identity(raw.Identity),
		Protocol: uint8(raw.Protocol), Port: uint16(raw.Port),
		Origin: directionOf(raw.Origin),
	}
	switch raw.By {
	case edgenetTraceByTRACE_RULES:
		side.By = ByRules
	case edgenetTraceByTRACE_FLOW:
		side.By = ByFlow
	case edgenetTraceByTRACE_RELATED:
		side.By = ByRelated
	case edgenetTraceByTRACE_NOT_ASKED:
		return nil
	}
	if side.By != ByRules {
		side.State = FlowState(states[uint32(raw.State)])
	}
	return side
}

// probeMAC is for an endpoint that has not spoken yet: it may have any.
var probeMAC = net.HardwareAddr{0x0a, 0x65, 0x6e, 0x00, 0x00, 0x01}

// frame is the packet as its endpoint sends it.
func (p *Probe) frame(mac net.HardwareAddr) []byte {
	kind := uint16(0x0800)
	if p.Source.Is6() {
		kind = 0x86dd
	}
	if len(mac) == 0 {
		mac = probeMAC
	}
	b := append(append([]byte{}, gatewayMAC...), mac...)
	return append(binary.BigEndian.AppendUint16(b, kind), p.packet()...)
}
