package ipsec

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

// chatter sends the secret every 5 ms from one node's own address to another's,
// whether there is a way or not, and counts what arrives.
type chatter struct {
	in, out *net.UDPConn
	task    sync.WaitGroup
	stop    context.CancelFunc

	mu      sync.Mutex
	arrived int
	news    chan struct{}
}

func (h *harness) chat(t *testing.T, from, to int) *chatter {
	t.Helper()
	c := &chatter{news: make(chan struct{}, 1)}
	listen := func(node int) (conn *net.UDPConn) {
		h.lab.Spaces[node].Must(t, func() (err error) {
			// Not on the device alone, which may go and come.
			if err := tunneltest.Lend(h.device(node).Address); err != nil {
				return err
			}
			conn, err = net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.device(node).Address, 0)))
			return err
		})
		return conn
	}
	c.in, c.out = listen(to), listen(from)
	var ctx context.Context
	ctx, c.stop = context.WithCancel(t.Context())
	c.task.Go(func() { c.send(ctx) })
	c.task.Go(c.receive)
	t.Cleanup(c.end)
	return c
}

func (c *chatter) end() {
	c.stop()
	_ = c.in.Close()
	c.task.Wait()
	_ = c.out.Close()
}

func (c *chatter) send(ctx context.Context) {
	to := c.in.LocalAddr().(*net.UDPAddr).AddrPort()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_, _ = c.out.WriteToUDPAddrPort([]byte(secret), to) // it may be unreachable
		}
	}
}

func (c *chatter) receive() {
	buf := make([]byte, 64)
	for {
		n, err := c.in.Read(buf)
		if err != nil {
			return
		}
		if string(buf[:n]) != secret {
			continue
		}
		c.mu.Lock()
		c.arrived++
		c.mu.Unlock()
		select {
		case c.news <- struct{}{}:
		default:
		}
	}
}

// total is how many have arrived.
func (c *chatter) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.arrived
}

// more waits until some more have arrived, and returns how long the first one
// took.
func (c *chatter) more(t *testing.T) time.Duration {
	t.Helper()
	const count = 10
	select { // of an earlier one
	case <-c.news:
	default:
	}
	begin, before := time.Now(), c.total()
	var first time.Duration
	deadline := time.After(tunneltest.DeliverTimeout)
	for c.total() < before+count {
		select {
		case <-c.news:
			if first == 0 {
				first = time.Since(begin)
			}
		case <-deadline:
			t.Fatalf("%d more arrived, want %d", c.total()-before, count)
		}
	}
	return first
}

// silence waits until nothing has arrived for a while.
func (f *fleet) silence(t *testing.T, c *chatter) {
	t.Helper()
	deadline := time.After(tunneltest.DeliverTimeout)
	for {
		select {
		case <-c.news:
		case <-time.After(200 * time.Millisecond):
			return
		case <-deadline:
			t.Fatal("packets arrive on")
		}
	}
}
