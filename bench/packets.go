package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// smallSize is the payload of a small packet, in bytes.
	smallSize = 64
	smallPort = 7010
	// rampTime passes before packets are counted, for countTime.
	rampTime  = 100 * time.Millisecond
	countTime = 400 * time.Millisecond
)

// packets returns how many small UDP packets of one sender arrive over the way in
// a second, when more are sent than it takes. What arrives is counted by the
// receiver's kernel, and dropped there.
func (y way) packets() (float64, error) {
	socket, err := y.sink()
	if err != nil {
		return 0, fmt.Errorf("receive packets of way %s: %w", y.name, err)
	}
	defer func() { _ = unix.Close(socket) }()
	var stop atomic.Bool
	sending := make(chan error, 1)
	go func() { sending <- within(y.from, func() error { return flood(y.addr, &stop) }) }()
	rate, err := y.arrivalRate()
	stop.Store(true)
	if err := errors.Join(err, <-sending); err != nil {
		return 0, fmt.Errorf("send packets over way %s: %w", y.name, err)
	}
	if rate == 0 {
		return 0, fmt.Errorf("send packets over way %s: none arrived", y.name)
	}
	return rate, nil
}

func (y way) arrivalRate() (float64, error) {
	time.Sleep(rampTime) //nolint:forbidigo // what is measured is what happens meanwhile
	before, err := y.dropped()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	time.Sleep(countTime) //nolint:forbidigo // the same
	after, err := y.dropped()
	return float64(after-before) / time.Since(began).Seconds(), err
}

// sink is a socket that nobody reads: it is full at once, and each packet more is
// counted.
func (y way) sink() (socket int, err error) {
	err = within(y.to, func() error {
		if socket, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return fmt.Errorf("open socket: %w", err)
		}
		err := unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_RCVBUF, 0) // which gives the least there is
		if err == nil {
			err = unix.Bind(socket, &unix.SockaddrInet4{Port: smallPort, Addr: y.addr.As4()})
		}
		if err != nil {
			return errors.Join(fmt.Errorf("bind: %w", err), unix.Close(socket))
		}
		return nil
	})
	return socket, err
}

// dropped is how many datagrams found their socket full, in the receiver's
// namespace.
func (y way) dropped() (count uint64, err error) {
	err = within(y.to, func() error {
		text, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return fmt.Errorf("read counters: %w", err)
		}
		count, err = snmpCounter(string(text), "Udp:", "RcvbufErrors")
		return err
	})
	return count, err
}

// snmpCounter reads one figure of /proc/net/snmp, which has a line of names before
// each line of figures.
func snmpCounter(text, protocol, name string) (uint64, error) {
	var names []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != protocol {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, each := range names {
			if each == name && i < len(fields) {
				return strconv.ParseUint(fields[i], 10, 64)
			}
		}
	}
	return 0, fmt.Errorf("read counters: there is no %s %s", protocol, name)
}

// flood sends until it is stopped. A queue that is full is what is wanted.
func flood(to netip.Addr, stop *atomic.Bool) error {
	socket, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, smallPort)))
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	defer func() { _ = socket.Close() }()
	packet := make([]byte, smallSize)
	for !stop.Load() {
		if _, err := socket.Write(packet); err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.ECONNREFUSED) {
			return fmt.Errorf("send: %w", err)
		}
	}
	return nil
}
