package userspace

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	wgtun "golang.zx2c4.com/wireguard/tun"
)

const (
	// mostSegments is how many packets one read makes at most: what the device was
	// handed in one piece of 64 KiB is cut up, into as many as wireguard-go has room for
	// by itself.
	mostSegments = conn.IdealBatchSize
	// mostRead is how many a batch has. Below mostRead - mostSegments there is room for
	// whatever the next read makes.
	mostRead = mostSegments + mostSegments/4
)

// manyTUN reads all packets that wait, up to a batch, where wireguard-go reads one at
// a time unless it was handed in one piece with others. What is read at once is
// handed on, encrypted and sent at once: a batch of small packets costs a few
// changes of goroutine and one system call to send, in the place of as many each.
type manyTUN struct {
	wgtun.Device
	raw syscall.RawConn
	// look is poll, made once.
	look func(fd uintptr)
	// waiting is what look found out.
	waiting bool
	fds     [1]unix.PollFd
}

func newManyTUN(d wgtun.Device, file *os.File) (*manyTUN, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("read TUN in batches: %w", err)
	}
	t := &manyTUN{Device: d, raw: raw}
	t.look = t.poll
	return t, nil
}

// BatchSize implements tun.Device.
func (t *manyTUN) BatchSize() int { return mostRead }

// Read implements tun.Device. It waits for the first packet alone.
func (t *manyTUN) Read(packets [][]byte, sizes []int, offset int) (int, error) {
	n, err := t.Device.Read(packets, sizes, offset)
	for err == nil && len(packets)-n >= mostSegments && t.more() {
		var next int
		next, err = t.Device.Read(packets[n:], sizes[n:], offset)
		n += next
	}
	return n, err
}

// more says whether a read would not wait.
func (t *manyTUN) more() bool {
	t.waiting = false
	// The device may be closed: the next read says so.
	_ = t.raw.Control(t.look)
	return t.waiting
}

func (t *manyTUN) poll(fd uintptr) {
	t.fds[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	n, err := unix.Poll(t.fds[:], 0)
	t.waiting = err == nil && n == 1 && t.fds[0].Revents == unix.POLLIN
}
