package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/test/netns/lab"
)

// joining measures how long a new node takes from `edgenetctl join` to the first
// packet of a tenant.
var joining = benchmark{
	rows: []string{"join/first-packet", "join/first-packet-max", "join/call", "join/attach"},
	run:  measureJoining,
}

const (
	joins = 7
	// mostJoin is the target, in milliseconds.
	mostJoin = 2000
	// firstPort is where tenants' first packets are sent.
	firstPort = 7009
	// firstInterval is how often one is sent until one has arrived.
	firstInterval = time.Millisecond
)

func measureJoining(w *world) ([]result, error) {
	authority := w.mesh()[0]
	to := authority.Container("awaited")
	to.Attach(vpc, joinAddress(0).String(), group)
	var first, call, attach []float64
	for i := range joins {
		j := newcomer{host: w.lab.Host(fmt.Sprintf("new-%d", i+1)), to: to.IP, own: joinAddress(i + 1)}
		j.host.Start()
		if err := j.measure(w.ctx, authority, to.Netns()); err != nil {
			return nil, fmt.Errorf("join %s: %w", j.host, err)
		}
		first, call, attach = append(first, j.first), append(call, j.call), append(attach, j.attach)
		j.host.MustCtl("leave")
		j.host.Stop()
	}
	return []result{
		medianOf("join/first-packet", "ms", first).atMost(mostJoin),
		rowOf("join/first-packet-max", "ms", first, slices.Max[[]float64]),
		medianOf("join/call", "ms", call),
		medianOf("join/attach", "ms", attach),
	}, nil
}

// joinAddress is the one of a container; those of the attach benchmark are lower.
func joinAddress(i int) netip.Addr {
	base := vpcPrefix.Addr().As4()
	base[2], base[3] = 200, byte(i+2)
	return netip.AddrFrom4(base)
}

// newcomer is a node that joins, with times in milliseconds since it began.
type newcomer struct {
	host *lab.Host
	// own is the container's address, to the one that it talks to.
	own, to netip.Addr
	// call and attach are when the commands had ended.
	call, attach, first float64
}

// measure does what an orchestrator does: it joins, attaches a container that is
// there already, and has it talk.
func (j *newcomer) measure(ctx context.Context, authority *lab.Host, receiver string) error {
	c := j.host.Container("first")
	token := authority.Token()
	arrived := make(chan error, 1)
	ready := make(chan struct{})
	var at time.Time
	go func() {
		arrived <- within(receiver, func() (err error) {
			at, err = awaitDatagram(j.to, ready)
			return err
		})
	}()
	select {
	case <-ready:
	case err := <-arrived:
		return err
	}
	began := time.Now()
	commands := [][]string{
		{"join", token},
		{"endpoint", "attach", "first-" + j.host.Name, "--vpc", vpc, "--ip", j.own.String(), "--group", group, "--netns", c.Netns()},
	}
	for i, to := range []*float64{&j.call, &j.attach} {
		if err := j.edgenetctl(ctx, commands[i]...); err != nil {
			return err
		}
		*to = milliseconds(time.Since(began))
	}
	stop := make(chan struct{})
	sent := make(chan error, 1)
	go func() { sent <- within(c.Netns(), func() error { return sendUntil(j.to, stop) }) }()
	err := <-arrived
	close(stop)
	j.first = milliseconds(at.Sub(began))
	return errors.Join(err, <-sent)
}

func (j *newcomer) edgenetctl(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, lab.Program("edgenetctl"), append([]string{"--socket", j.host.Socket()}, args...)...)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("edgenetctl %s: %w: %s", args[0], err, said)
	}
	return nil
}

// awaitDatagram returns when the first datagram has arrived.
func awaitDatagram(at netip.Addr, ready chan<- struct{}) (time.Time, error) {
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, firstPort)))
	if err != nil {
		return time.Time{}, fmt.Errorf("listen: %w", err)
	}
	close(ready)
	err = socket.SetReadDeadline(time.Now().Add(patience))
	if err == nil {
		_, _, err = socket.ReadFromUDPAddrPort(make([]byte, 64))
	}
	return time.Now(), errors.Join(err, socket.Close())
}

// sendUntil sends datagrams until it is stopped. What cannot be sent is lost, like
// any.
func sendUntil(to netip.Addr, stop <-chan struct{}) error {
	socket, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, firstPort)))
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	defer func() { _ = socket.Close() }()
	tick := time.NewTicker(firstInterval)
	defer tick.Stop()
	for {
		if _, err := socket.Write([]byte("first")); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
			return fmt.Errorf("send: %w", err)
		}
		select {
		case <-stop:
			return nil
		case <-tick.C:
		}
	}
}
