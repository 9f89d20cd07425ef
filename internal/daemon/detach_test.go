package daemon_test

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"edgenet.dev/edgenet/pkg/isolation"
)

// A detach returns when the device is gone; until then nobody else waits for it.
func TestADetachAloneWaitsForItsDevice(t *testing.T) {
	n, vni := authority(t)
	mustAttach(t, n, attachRequest("web", "10.0.0.5"))
	web := isolation.Key{VNI: vni, Name: "web"}
	begun, gone := make(chan isolation.Key), make(chan error)
	n.Kernel.Leaving(func(key isolation.Key) error {
		begun <- key
		return <-gone
	})
	result := make(chan error, 1)
	go func() { result <- n.DetachEndpoint(t.Context(), "web", "blue") }()
	if key := <-begun; key != web {
		t.Errorf("the device of %v is awaited, want %v", key, web)
	}
	if left := n.Kernel.Endpoints(); len(left) > 0 {
		t.Errorf("%v are in force while the device is deleted", left)
	}
	mustAttach(t, n, attachRequest("db", "10.0.0.5"))
	select {
	case err := <-result:
		t.Errorf("the detach did not wait: %v", err)
	default:
	}
	gone <- errors.New("delete envweb: device is busy")
	if err := <-result; err == nil || err.Error() != "detach endpoint web: delete envweb: device is busy" {
		t.Errorf("the detach says %v", err)
	}
}

// Detaches that come while a round is made share the next.
func TestManyDetachesShareARound(t *testing.T) {
	n, _ := authority(t)
	const many = 20
	for i := range many {
		mustAttach(t, n, attachRequest(fmt.Sprint("e", i), fmt.Sprint("10.0.0.", 5+i)))
	}
	var once sync.Once
	under, proceed := make(chan struct{}), make(chan struct{})
	n.Kernel.During(func(isolation.State) {
		once.Do(func() {
			close(under)
			<-proceed
		})
	})
	var calls sync.WaitGroup
	detach := func(i int) {
		calls.Go(func() {
			if err := n.DetachEndpoint(t.Context(), fmt.Sprint("e", i), "blue"); err != nil {
				t.Error(err)
			}
		})
	}
	before := n.Kernel.Applied()
	detach(0)
	<-under
	for i := 1; i < many; i++ {
		detach(i)
	}
	for n.Departures() < many-1 {
		runtime.Gosched()
	}
	close(proceed)
	calls.Wait()
	// One of the loop may come between.
	if rounds := n.Kernel.Applied() - before; rounds > 3 {
		t.Errorf("%d detaches took %d rounds", many, rounds)
	}
	if left := n.Kernel.Endpoints(); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}
