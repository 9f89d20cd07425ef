package isolation

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"

	"edgenet.dev/edgenet/pkg/policy"
)

// What programs return (linux/pkt_cls.h).
const (
	pass     = 0
	shot     = 2
	redirect = 7
)

// bench has the programs without devices: web is behind the loopback, which is
// where BPF_PROG_TEST_RUN says packets come from; db is a neighbour, and far is
// on node b.
type bench struct {
	*host
	wires map[Key]wired
}

var (
	webKey = Key{testVNI, "web"}
	dbKey  = Key{testVNI, "db"}
)

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{host: &host{space: newSpace(t), prefix: nodeA}, wires: map[Key]wired{}}
	b.cfg = Config{
		MeshPrefix: testMesh, NodePrefix: nodeA, MaxEndpoints: 8, MaxAddresses: 64, MaxFlows: 1024, MaxVerdicts: 64,
	}
	b.open()
	t.Cleanup(b.close)
	b.state = flatState{
		Prefix: nodeA, Endpoints: map[Key]Endpoint{}, Addresses: map[Address]Location{},
		Nodes:    map[netip.Prefix]Node{nodeB: {Prefix: nodeB, Device: "lo", MTU: 1420}},
		Policies: map[policy.ID]*policy.Table{allowAll: allowAllTable(), allowWeb: allowWebTable()},
	}
	b.endpoint(testVNI, "web", "10.0.0.2", nil)
	b.endpoint(testVNI, "db", "10.0.0.3", nil)
	b.endpoint(otherVNI, "spy", "10.0.0.3", nil)
	b.knows(testVNI, "10.0.0.4", nodeB)
	b.knows(otherVNI, "10.0.0.5", nodeB)
	b.knows(testVNI, "10.0.0.6", netip.MustParsePrefix("fd12:340c::/64"))
	b.wires[webKey] = wired{ifindex: 1, mac: webMAC, delivery: edgenetDeliveryDELIVER_PEER}
	b.wires[dbKey] = wired{ifindex: 77, mac: dbMAC, delivery: edgenetDeliveryDELIVER_PEER}
	b.wires[Key{otherVNI, "spy"}] = wired{ifindex: 78, mac: dbMAC, delivery: edgenetDeliveryDELIVER_PEER}
	b.refill()
	return b
}

// alone takes the other tenant away: a rule of his is another.
func (b *bench) alone() {
	spy := Key{otherVNI, "spy"}
	delete(b.state.Endpoints, spy)
	delete(b.wires, spy)
	for address := range b.state.Addresses {
		if address.VNI == otherVNI {
			delete(b.state.Addresses, address)
		}
	}
}

// refill is Apply without devices.
func (b *bench) refill() {
	b.t.Helper()
	if err := b.tryRefill(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) tryRefill() error { return b.become(b.state.State()) }

func (b *bench) become(want State) error {
	failed := &ApplyError{Endpoints: map[Key]error{}}
	b.do(func() {
		links, err := b.dp.listLinks()
		failed.other(err)
		failed.other(b.dp.tables.collect())
		failed.other(b.dp.closeEndpoints(&want))
		failed.other(b.dp.closeAddresses(&want))
		b.dp.fill(&want, links, b.wires, failed)
		b.dp.tables.settle()
	})
	return failed.orNil()
}

// settled returns when what was taken out of force has been given back.
func (b *bench) settled() {
	b.t.Helper()
	if err := b.dp.tables.grace.wait(); err != nil {
		b.t.Fatal(err)
	}
	b.refill()
}

// set changes an endpoint of the state.
func (b *bench) set(key Key, change func(*Endpoint)) {
	e := b.state.Endpoints[key]
	change(&e)
	b.state.Endpoints[key] = e
}

func run(t testing.TB, p *ebpf.Program, packet []byte, gsoSize uint32) (uint32, []byte) {
	t.Helper()
	options := &ebpf.RunOptions{Data: packet, DataOut: make([]byte, len(packet)+256)}
	if gsoSize != 0 {
		b := make([]byte, 192)
		binary.NativeEndian.PutUint32(b[176:], gsoSize) // __sk_buff.gso_size
		options.Context = b
	}
	verdict, err := p.Run(options)
	if err != nil {
		t.Fatal(err)
	}
	return verdict, options.DataOut
}

// meanwhile calls send with 1, 2 and so on, until the function that it returns is
// called, which waits for the last.
func meanwhile(send func(n uint16)) (stop func()) {
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := uint16(1); ; n++ {
			select {
			case <-ended:
				return
			default:
				send(n)
			}
		}
	}()
	return func() {
		close(ended)
		<-done
	}
}

// dropsOf sums up one reason over all accounts.
func (b *bench) drops(reason string) uint64 {
	b.t.Helper()
	var n uint64
	b.do(func() {
		for slot := range b.dp.maps.Learned.MaxEntries() {
			c, err := b.dp.counters(slot)
			if err != nil {
				b.t.Error(err)
			}
			n += c.Drops[reason]
		}
	})
	return n
}

// drop wants a packet to be dropped for a reason, and for no other.
func (b *bench) drop(t testing.TB, p *ebpf.Program, packet []byte, gsoSize uint32, reason string) {
	t.Helper()
	before := b.drops(reason)
	verdict, _ := run(t, p, packet, gsoSize)
	if verdict != shot {
		t.Fatalf("verdict %d, want a drop for %s", verdict, reason)
	}
	if n := b.drops(reason) - before; n != 1 {
		b.report()
		t.Fatalf("%d drops for %s, want 1", n, reason)
	}
}

func (b *bench) redirect(t testing.TB, p *ebpf.Program, packet []byte) []byte {
	t.Helper()
	verdict, out := run(t, p, packet, 0)
	if verdict != redirect {
		b.report()
		t.Fatalf("verdict %d, want a redirect", verdict)
	}
	return out
}

// edit changes a copy of a packet.
func edit(packet []byte, change func([]byte)) []byte {
	c := bytes.Clone(packet)
	change(c)
	return c
}

// withHeader changes the IPv4 header of a frame and makes its checksum right.
func withHeader(frame []byte, change func([]byte)) []byte {
	return edit(frame, func(b []byte) { change(b[14:]); resum(b[14:34]) })
}
