package sim

import (
	"syscall"
	"time"
)

// clock returns what tells how much real time has passed: in a bubble the package
// time does not.
func clock() func() time.Duration {
	now := func() time.Duration {
		var t syscall.Timeval
		_ = syscall.Gettimeofday(&t) // It cannot fail with a good address.
		return time.Duration(t.Nano())
	}
	begin := now()
	return func() time.Duration { return now() - begin }
}
