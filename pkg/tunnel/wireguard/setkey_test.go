package wireguard

import (
	"testing"
	"testing/synctest"
)

// A call that was given up may have done its work just then. What follows from that
// is whole before anybody goes by it, or does not happen at all.
func TestACallIsDoneOrGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := newOutcome()
		if !late.giveUp() {
			t.Error("a call that has done nothing yet is not given up")
		}
		late.done(func() { t.Error("what a call that was given up has done is told") })

		o, hold := newOutcome(), make(chan struct{})
		told, answered := false, false
		go o.done(func() {
			<-hold
			told = true
		})
		synctest.Wait()
		go func() {
			if o.giveUp() {
				t.Error("a call is given up that has done its work")
			}
			if !told {
				t.Error("what follows from the call goes on yet")
			}
			answered = true
		}()
		synctest.Wait()
		if answered {
			t.Error("nobody waits for what follows from the call")
		}
		close(hold)
		synctest.Wait()
		if !answered {
			t.Error("who gives the call up is not answered")
		}
	})
}
