package userspace

import (
	"runtime"
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
// unknown peer, forged, repeated, waiting too long for a handshake), so what is in
// hand and has not moved for a stall is taken for dropped: packets are held up, but
// none is refused. Who sends nothing else must not hold up all others for long, so
// there is no bound for a while after that.
type flow struct {
	most   int64
	inHand atomic.Int64
	// moved has room for one word that something was written.
	moved chan struct{}
	// unbound is until when there is no bound, as the time since began.
	began   time.Time
	unbound atomic.Int64
	// total are the packets read since then.
	total atomic.Uint64
}

const (
	// stall is longer than a busy machine keeps a thread from its processor.
	stall = 5 * time.Millisecond
	// afterStall is so long that stalls take less than a tenth of the time.
	afterStall = 50 * time.Millisecond
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

// await returns when there is room.
func (f *flow) await() {
	// The goroutines that carry packets on come first, if they wait for this processor.
	runtime.Gosched()
	if f.inHand.Load() < f.most || time.Since(f.began) < time.Duration(f.unbound.Load()) {
		return
	}
	patience := time.NewTimer(stall)
	defer patience.Stop()
	for f.inHand.Load() >= f.most {
		select {
		case <-f.moved:
			patience.Reset(stall)
		case <-patience.C:
			f.inHand.Store(0)
			f.unbound.Store(int64(time.Since(f.began) + afterStall))
		}
	}
}

// read says that so many packets are in hand.
func (f *flow) read(n int) {
	f.inHand.Add(int64(n))
	f.total.Add(uint64(n))
}

// written says that so many are no longer. Some were never counted: handshakes are
// wireguard-go's own.
func (f *flow) written(n int) {
	for {
		had := f.inHand.Load()
		if f.inHand.CompareAndSwap(had, max(0, had-int64(n))) {
			break
		}
	}
	select {
	case f.moved <- struct{}{}:
	default: // it has been said already
	}
}

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
			b.flows.in.read(n)
			return n, err
		}
	}
	return receive, actual, err
}

// Send implements conn.Bind.
func (b boundBind) Send(packets [][]byte, to conn.Endpoint) error {
	err := b.Bind.Send(packets, to)
	b.flows.out.written(len(packets))
	return err
}
