package userspace

import (
	"errors"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	wgtun "golang.zx2c4.com/wireguard/tun"
)

// flow bounds how many packets of one direction wireguard-go has in hand: read,
// but not yet written. By itself it reads for as long as there is something to
// read, before what it read goes on: thousands of packets, each in a buffer of 64
// KiB, which no processor's cache holds. Behind a bound they wait where they came
// from, in the device's queue or the socket's, and the few buffers in use stay in
// the caches.
//
// The count is of what it is told. wireguard-go drops packets without a word (of an
// unknown peer, forged, repeated, waiting too long for a handshake), and others can
// bring that about. So the bound is a matter of speed alone, and never holds packets
// up for long: a wait ends after longest, whatever moves meanwhile, and there is none
// for a while after that; and what is in hand is forgotten twice a second, so that
// what was dropped does not make the bound narrower and narrower. Handshakes and
// keepalives, which are wireguard-go's own, do not count.
type flow struct {
	most   int64
	inHand atomic.Int64
	// moved has room for one word that something was written.
	moved chan struct{}
	// unbound is until when there is no bound, and forgot when inHand was last set to
	// nothing, as times since began.
	began           time.Time
	unbound, forgot atomic.Int64
	// total are the packets read since then.
	total atomic.Uint64
}

const (
	// longest is longer than a busy machine keeps a thread from its processor, and
	// than a batch takes on links of more than some 150 Mbit/s.
	longest = 10 * time.Millisecond
	// afterwards is so long that waits in vain take less than a tenth of the time.
	afterwards = 100 * time.Millisecond
	// forgetting is how often what is in hand is forgotten.
	forgetting = 500 * time.Millisecond
)

// newFlow has room for a batch on every processor, so that each has work. Fewer
// than two would have it wait for each batch.
func newFlow() *flow {
	return &flow{
		most:  int64(conn.IdealBatchSize * max(2, runtime.GOMAXPROCS(0))),
		moved: make(chan struct{}, 1),
		began: time.Now(),
	}
}

// await returns when there is room, or after longest.
func (f *flow) await() {
	// The goroutines that carry packets on come first, if they wait for this processor.
	runtime.Gosched()
	if f.inHand.Load() < f.most || f.isUnbound() || f.forget() {
		return
	}
	patience := time.NewTimer(longest)
	defer patience.Stop()
	for f.inHand.Load() >= f.most {
		select {
		case <-f.moved:
		case <-patience.C:
			f.inHand.Store(0)
			f.unbound.Store(f.since() + int64(afterwards))
		}
	}
	f.say() // for the other one who may wait: a bind receives by two sockets
}

// since is the time since began.
func (f *flow) since() int64 { return int64(time.Since(f.began)) }

func (f *flow) isUnbound() bool { return f.since() < f.unbound.Load() }

// forget makes room if it is time for that.
func (f *flow) forget() bool {
	now, last := f.since(), f.forgot.Load()
	if now-last < int64(forgetting) || !f.forgot.CompareAndSwap(last, now) {
		return false
	}
	f.inHand.Store(0)
	return true
}

// read says that so many packets are in hand.
func (f *flow) read(n int) {
	f.total.Add(uint64(n))
	if f.inHand.Load() < f.most || !f.isUnbound() {
		f.inHand.Add(int64(n))
	}
}

// written says that so many are no longer. Some may have been forgotten.
func (f *flow) written(n int) {
	for {
		had := f.inHand.Load()
		if f.inHand.CompareAndSwap(had, max(0, had-int64(n))) {
			break
		}
	}
	f.say()
}

// say wakes one who waits, now or later.
func (f *flow) say() {
	select {
	case f.moved <- struct{}{}:
	default: // it has been said already
	}
}

// Of a WireGuard message, the first byte is its type, and one of data that has
// nothing in it, a keepalive, has so many bytes (whitepaper, section 5.4.6).
const (
	typeData  = 4
	keepalive = 32
)

// isData tells messages that carry a packet from wireguard-go's own.
func isData(message []byte) bool { return len(message) > keepalive && message[0] == typeData }

// flows are the two directions of a device.
type flows struct{ out, in *flow }

func newFlows() flows { return flows{out: newFlow(), in: newFlow()} }

// packets counts those of both directions since the process began.
func (f flows) packets() uint64 { return f.out.total.Load() + f.in.total.Load() }

// boundTUN is the inner end of both flows.
type boundTUN struct {
	wgtun.Device
	flows flows
}

// Read implements tun.Device.
func (t boundTUN) Read(packets [][]byte, sizes []int, offset int) (int, error) {
	t.flows.out.await()
	n, err := t.Device.Read(packets, sizes, offset)
	t.flows.out.read(n)
	return n, err
}

// Write implements tun.Device.
func (t boundTUN) Write(packets [][]byte, offset int) (int, error) {
	n, err := t.Device.Write(packets, offset)
	t.flows.in.written(len(packets))
	return n, err
}

// boundBind is the outer end.
type boundBind struct {
	conn.Bind
	flows flows
}

// Open implements conn.Bind.
func (b boundBind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	receive, actual, err := b.Bind.Open(port)
	for i, next := range receive {
		receive[i] = func(packets [][]byte, sizes []int, from []conn.Endpoint) (int, error) {
			b.flows.in.await()
			n, err := next(packets, sizes, from)
			data := 0
			for i := range n {
				if isData(packets[i][:sizes[i]]) {
					data++
				}
			}
			b.flows.in.read(data)
			return n, err
		}
	}
	return receive, actual, err
}

// Send implements conn.Bind. A batch may be larger than what a bind takes at a time.
func (b boundBind) Send(packets [][]byte, to conn.Endpoint) error {
	var err error
	keepApart(packets)
	for some := range slices.Chunk(packets, conn.IdealBatchSize) {
		err = errors.Join(err, b.Bind.Send(some, to))
	}
	data := 0
	for _, p := range packets {
		if isData(p) {
			data++
		}
	}
	b.flows.out.written(data)
	return err
}
