package agent

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// ringFrame is what a frame may have, with its header: more than what is merged
	// for segmentation. A block of the ring has one.
	ringFrame = 128 << 10
	// ringFrames are as many as may wait to be looked at.
	ringFrames = 128
	// ringWait is after how many milliseconds without a frame it is looked whether the
	// ring was closed.
	ringWait = 50
)

// ring has the frames of an interface, in and out, as they were when they passed. A
// packet socket without one shares their memory with them: where the next host is
// on the same kernel, that one's ESP may have decrypted them in place by the time
// they are read.
type ring struct {
	fd     int
	memory []byte
	next   int
	closed atomic.Bool
}

func openRing(ifname string) (r *ring, err error) {
	device, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, fmt.Errorf("find interface %s: %w", ifname, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	r = &ring{fd: fd}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open ring on %s: %w", ifname, err), r.free())
		}
	}()
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	size := &unix.TpacketReq{Block_size: ringFrame, Block_nr: ringFrames, Frame_size: ringFrame, Frame_nr: ringFrames}
	if err := unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, size); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	if r.memory, err = unix.Mmap(fd, 0, ringFrame*ringFrames, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network order
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: device.Index}); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	return r, nil
}

// each calls look with every frame, which is its only for the call, until the ring is
// closed, and with what waits in it then.
func (r *ring) each(look func(frame []byte)) {
	for left := ringFrames; left > 0; {
		if r.closed.Load() {
			left--
		}
		frame := r.memory[r.next*ringFrame:][:ringFrame]
		header := (*unix.Tpacket2Hdr)(unsafe.Pointer(&frame[0]))
		if atomic.LoadUint32(&header.Status)&unix.TP_STATUS_USER != 0 {
			look(frame[header.Mac:][:header.Snaplen])
			atomic.StoreUint32(&header.Status, unix.TP_STATUS_KERNEL)
			r.next = (r.next + 1) % ringFrames
			continue
		}
		if r.closed.Load() {
			return
		}
		// Errors: interrupted, or it is looked again soon.
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}}, ringWait)
	}
}

// free gives back what it has. Nothing may read then.
func (r *ring) free() error {
	var err error
	if r.memory != nil {
		err = unix.Munmap(r.memory)
	}
	return errors.Join(err, unix.Close(r.fd))
}
