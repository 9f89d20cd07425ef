package userspace

import (
	"fmt"

	"golang.org/x/sys/unix"
	wgtun "golang.zx2c4.com/wireguard/tun"
)

// openTUN creates the TUN, or takes over a persistent one that an earlier
// process left.
func openTUN(name string, mtu int) (*alwaysUp, error) {
	t, err := wgtun.CreateTUN(name, mtu)
	if err != nil {
		return nil, fmt.Errorf("create TUN %s: %w", name, err)
	}
	return newAlwaysUp(t), nil
}

// persist makes the device outlive the process. It is the last step of a start,
// so that a start that fails leaves no device.
func persist(t *alwaysUp) error {
	raw, err := t.File().SyscallConn()
	if err != nil {
		return fmt.Errorf("make TUN persistent: %w", err)
	}
	var ioctlErr error
	err = raw.Control(func(fd uintptr) {
		ioctlErr = unix.IoctlSetInt(int(fd), unix.TUNSETPERSIST, 1)
	})
	if err == nil {
		err = ioctlErr
	}
	if err != nil {
		return fmt.Errorf("make TUN persistent: %w", err)
	}
	return nil
}

// alwaysUp is a TUN that hides the link's ups and downs from wireguard-go.
// wireguard-go opens its UDP sockets when the link comes up, which it learns a
// while later, and only logs when they cannot be opened. With the device up
// from the start, the listen port is opened when it is set, and a port that is
// taken is an answer to whoever set it.
type alwaysUp struct {
	wgtun.Device
	events chan wgtun.Event
}

func newAlwaysUp(t wgtun.Device) *alwaysUp {
	a := &alwaysUp{Device: t, events: make(chan wgtun.Event)}
	go a.forward()
	return a
}

// forward ends when the device is closed, and ends wireguard-go's reader then.
func (a *alwaysUp) forward() {
	defer close(a.events)
	for e := range a.Device.Events() {
		if e&wgtun.EventMTUUpdate != 0 {
			a.events <- wgtun.EventMTUUpdate
		}
	}
}

// Events reports changes of the MTU alone.
func (a *alwaysUp) Events() <-chan wgtun.Event { return a.events }
