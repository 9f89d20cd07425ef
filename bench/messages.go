package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// messages of one sample, and their size in bytes.
	messages    = 10_000
	messageSize = 64
	// messagePort is where they are answered.
	messagePort = 7007
	// messageTime is how long an answer may take, in seconds.
	messageTime = 2
)

// messages returns the median time that a small UDP message and its answer take,
// in microseconds. Who asks and who answers share one processor, so that no time
// is spent on waking another up: the rest is the way's and the sockets'.
func (y way) messages() (float64, error) {
	answering := make(chan error, 1)
	bound := make(chan struct{})
	go func() {
		answering <- within(y.to, func() error { return answer(y.addr, bound) })
	}()
	select {
	case <-bound:
	case err := <-answering:
		return 0, fmt.Errorf("answer messages of way %s: %w", y.name, err)
	}
	var took []float64
	err := within(y.from, func() (err error) {
		took, err = ask(y.addr)
		return err
	})
	if err := errors.Join(err, <-answering); err != nil {
		return 0, fmt.Errorf("send messages over way %s: %w", y.name, err)
	}
	return median(took), nil
}

// messageSocket is a blocking one, on a thread that stays on one processor: the
// runtime's own poller would add its threads.
func messageSocket() (int, error) {
	if err := stayOn(0); err != nil {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open socket: %w", err)
	}
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: messageTime})
	if err != nil {
		return -1, errors.Join(fmt.Errorf("limit time: %w", err), unix.Close(fd))
	}
	return fd, nil
}

// receive waits for a message. The runtime's own signals end a wait that has a
// limit.
func receive(fd int, buffer []byte) error {
	for {
		if _, err := unix.Read(fd, buffer); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// ask sends the messages, each when the one before is answered.
func ask(to netip.Addr) (took []float64, err error) {
	fd, err := messageSocket()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: messagePort, Addr: to.As4()}); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	buffer := make([]byte, messageSize)
	for range messages {
		began := time.Now()
		if _, err := unix.Write(fd, buffer); err != nil {
			return nil, fmt.Errorf("send: %w", err)
		}
		if err := receive(fd, buffer); err != nil {
			return nil, fmt.Errorf("await answer: %w", err)
		}
		took = append(took, float64(time.Since(began))/float64(time.Microsecond))
	}
	return took, nil
}

// answer sends as many messages back as it is sent.
func answer(at netip.Addr, bound chan<- struct{}) (err error) {
	fd, err := messageSocket()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: messagePort, Addr: at.As4()}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	close(bound)
	buffer := make([]byte, messageSize)
	_, asking, err := unix.Recvfrom(fd, buffer, 0)
	for errors.Is(err, unix.EINTR) {
		_, asking, err = unix.Recvfrom(fd, buffer, 0)
	}
	if err != nil {
		return fmt.Errorf("await message: %w", err)
	}
	if err := unix.Connect(fd, asking); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	for range messages - 1 {
		if _, err := unix.Write(fd, buffer); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		if err := receive(fd, buffer); err != nil {
			return fmt.Errorf("await message: %w", err)
		}
	}
	if _, err := unix.Write(fd, buffer); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}
