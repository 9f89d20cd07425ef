package userspace

import (
	"testing"
	"testing/synctest"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	wgtun "golang.zx2c4.com/wireguard/tun"
)

func TestPacketsBeyondTheBoundWaitUntilOthersAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlow()
		f.read(int(f.most) + 1)
		began := time.Now()
		there := make(chan time.Duration, 1)
		go func() {
			f.await()
			there <- time.Since(began)
		}()
		// Each of these is in time; the first does not suffice.
		for range 2 {
			time.Sleep(stall - time.Millisecond)
			synctest.Wait()
			if len(there) > 0 {
				t.Fatal("a packet passed the bound")
			}
			f.written(1)
		}
		synctest.Wait()
		if got, want := <-there, 2*(stall-time.Millisecond); got != want {
			t.Errorf("there was room after %v, want %v", got, want)
		}
	})
}

func TestDroppedPacketsHoldUpOthersForAStallAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlow()
		for range 3 {
			f.read(int(f.most))
			if got := waited(f); got != stall {
				t.Errorf("the first after dropped packets waited %v, want %v", got, stall)
			}
			f.read(2 * int(f.most))
			if got := waited(f); got != 0 {
				t.Errorf("the next waited %v, want none", got)
			}
			f.written(2 * int(f.most))
			time.Sleep(afterStall)
		}
	})
}

func TestWhatWasNeverReadMakesNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlow()
		f.written(1000)
		f.read(int(f.most) - 1)
		// As before: a word of what moved is of the past.
		if got := waited(f); got != 0 {
			t.Errorf("a packet within the bound waited %v", got)
		}
		f.read(1)
		if got := waited(f); got != stall {
			t.Errorf("a packet beyond the bound waited %v, want %v", got, stall)
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
	packets, sizes := make([][]byte, 5), make([]int, 5)
	for range 2 {
		_, err := tun.Read(packets, sizes, 0)
		if err == nil {
			_, err = receive[0](packets, sizes, make([]conn.Endpoint, 5))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	inHand(t, flows, 10, 10)
	if err := bind.Send(packets[:3], nil); err != nil {
		t.Fatal(err)
	}
	inHand(t, flows, 7, 10)
	if _, err := tun.Write(packets[:4], 0); err != nil {
		t.Fatal(err)
	}
	inHand(t, flows, 7, 6)
	if got := flows.packets(); got != 20 {
		t.Errorf("the device has had %d packets, want 20", got)
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
