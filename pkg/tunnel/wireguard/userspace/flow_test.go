package userspace

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	wgtun "golang.zx2c4.com/wireguard/tun"
)

// newUsedFlow has been forgotten just now.
func newUsedFlow() *flow {
	f := newFlow()
	f.forgot.Store(f.since())
	return f
}

func TestPacketsBeyondTheBoundWaitUntilOthersAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newUsedFlow()
		f.read(int(f.most) + 1)
		there := make(chan time.Duration, 1)
		go func() { there <- waited(f) }()
		// The first does not suffice.
		for range 2 {
			time.Sleep(time.Millisecond)
			synctest.Wait()
			if len(there) > 0 {
				t.Fatal("a packet passed the bound")
			}
			f.written(1)
		}
		if got, want := <-there, 2*time.Millisecond; got != want {
			t.Errorf("there was room after %v, want %v", got, want)
		}
	})
}

// Whoever has wireguard-go drop packets, and send some of its own, holds up others for
// as long as is said and not for longer.
func TestDroppedPacketsHoldUpOthersForAMomentAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newUsedFlow()
		go func() {
			for time.Since(f.began) < forgetting {
				time.Sleep(longest / 10)
				f.written(1)
			}
		}()
		for range 3 {
			f.read(100 * int(f.most))
			if got := waited(f); got != longest {
				t.Errorf("the first after dropped packets waited %v, want %v", got, longest)
			}
			for range 10 {
				f.read(100 * int(f.most))
				if got := waited(f); got != 0 {
					t.Errorf("the next waited %v, want none", got)
				}
				time.Sleep(afterwards / 10)
			}
		}
		time.Sleep(forgetting)
	})
}

func TestWhatIsInHandIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newUsedFlow()
		for range 3 {
			time.Sleep(forgetting)
			f.read(int(f.most))
			if got := waited(f); got != 0 {
				t.Errorf("after %v a packet waited %v for what may have been dropped", forgetting, got)
			}
			f.read(int(f.most))
			if got := waited(f); got != longest {
				t.Errorf("the next waited %v, want %v", got, longest)
			}
		}
	})
}

// A device receives by two sockets, and what is written makes room for both.
func TestAWordOfWhatWasWrittenIsPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newUsedFlow()
		f.read(int(f.most))
		there := make(chan time.Duration, 2)
		for range 2 {
			go func() { there <- waited(f) }()
		}
		time.Sleep(time.Millisecond)
		f.written(int(f.most))
		for range 2 {
			if got := <-there; got != time.Millisecond {
				t.Errorf("there was room after %v, want %v", got, time.Millisecond)
			}
		}
	})
}

func TestWhatWasNeverReadMakesNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newUsedFlow()
		f.written(1000)
		f.read(int(f.most) - 1)
		// As before: a word of what moved is of the past.
		if got := waited(f); got != 0 {
			t.Errorf("a packet within the bound waited %v", got)
		}
		f.read(1)
		if got := waited(f); got != longest {
			t.Errorf("a packet beyond the bound waited %v, want %v", got, longest)
		}
	})
}

func waited(f *flow) time.Duration {
	began := time.Now()
	f.await()
	return time.Since(began)
}

// Both ends of a device count, each way.
func TestADeviceCountsWhatItHasInHand(t *testing.T) {
	flows := newFlows()
	tun, bind := boundTUN{fakeTUN{}, flows}, boundBind{fakeBind{}, flows}
	receive, _, err := bind.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	// Four of data; one of those that wireguard-go makes.
	data := append([]byte{typeData}, make([]byte, keepalive)...)
	packets, sizes := [][]byte{data, data, data[:keepalive], data, data}, []int{33, 33, 32, 33, 33}
	for range 2 {
		_, err := tun.Read(packets, sizes, 0)
		if err == nil {
			_, err = receive[0](packets, sizes, make([]conn.Endpoint, 5))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	inHand(t, flows, 10, 8)
	if err := bind.Send(packets[:3], nil); err != nil {
		t.Fatal(err)
	}
	inHand(t, flows, 8, 8)
	if _, err := tun.Write(packets[:4], 0); err != nil {
		t.Fatal(err)
	}
	inHand(t, flows, 8, 4)
	if got := flows.packets(); got != 18 {
		t.Errorf("the device has had %d packets, want 18", got)
	}
}

func inHand(t *testing.T, f flows, out, in int64) {
	t.Helper()
	if gotOut, gotIn := f.out.inHand.Load(), f.in.inHand.Load(); gotOut != out || gotIn != in {
		t.Errorf("in hand are %d and %d packets, want %d and %d", gotOut, gotIn, out, in)
	}
}

// fakeTUN reads and writes all that is asked for.
type fakeTUN struct{ wgtun.Device }

func (fakeTUN) Read(packets [][]byte, _ []int, _ int) (int, error) { return len(packets), nil }
func (fakeTUN) Write(packets [][]byte, _ int) (int, error)         { return len(packets), nil }

// fakeBind receives and sends it.
type fakeBind struct{ conn.Bind }

func (fakeBind) Open(uint16) ([]conn.ReceiveFunc, uint16, error) {
	all := func(packets [][]byte, _ []int, _ []conn.Endpoint) (int, error) { return len(packets), nil }
	return []conn.ReceiveFunc{all}, 0, nil
}

func (fakeBind) Send([][]byte, conn.Endpoint) error { return nil }

// pieces is a bind that keeps how many packets it was given at a time.
type pieces struct {
	conn.Bind
	given *[]int
}

func (p pieces) Send(packets [][]byte, _ conn.Endpoint) error {
	*p.given = append(*p.given, len(packets))
	return nil
}

func TestABatchIsSentInPiecesThatABindTakes(t *testing.T) {
	var given []int
	if err := (boundBind{pieces{given: &given}, newFlows()}).Send(make([][]byte, mostRead), nil); err != nil {
		t.Fatal(err)
	}
	if want := []int{conn.IdealBatchSize, mostRead - conn.IdealBatchSize}; !slices.Equal(given, want) {
		t.Errorf("a batch is sent in pieces of %d, want %d", given, want)
	}
}
