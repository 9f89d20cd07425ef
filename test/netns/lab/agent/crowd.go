package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// requestTime is how long a request of a crowd may take before it has failed. The
// machine is as busy as the crowd makes it.
const requestTime = 30 * time.Second

// crowd is many HTTP clients, each with a connection of its own that it keeps.
type crowd struct {
	cancel  context.CancelFunc
	clients sync.WaitGroup
	dials   atomic.Int64

	mu       sync.Mutex
	requests int
	failures []string
}

// startCrowd returns when every client has had its first answer, or none.
func startCrowd(args CrowdArgs) (*crowd, error) {
	if args.Connections <= 0 || args.Interval <= 0 {
		return nil, fmt.Errorf("crowd of %d, a request every %s: both must be above zero", args.Connections, args.Interval)
	}
	c := &crowd{}
	var ctx context.Context
	ctx, c.cancel = context.WithCancel(context.Background())
	url := "http://" + netip.AddrPortFrom(args.Target, args.Port).String() + "/"
	var first sync.WaitGroup
	for range args.Connections {
		first.Add(1)
		c.clients.Go(func() { c.ask(ctx, url, args.Interval, first.Done) })
	}
	first.Wait()
	return c, nil
}

// ask is one client's life.
func (c *crowd) ask(ctx context.Context, url string, interval time.Duration, began func()) {
	client := &client{crowd: c}
	defer client.close()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	c.note(client.get(url))
	began()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.note(client.get(url))
		}
	}
}

// client has one connection until that breaks. http.Transport's are given up, too,
// when a busy machine keeps a goroutine of theirs waiting.
type client struct {
	crowd  *crowd
	conn   net.Conn // nil if there is none
	reader *bufio.Reader
}

// get asks once and reads the answer. A connection that breaks is a failure.
func (c *client) get(url string) error {
	request, err := http.NewRequest(http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	if err := c.ask(request); err != nil {
		c.close()
		return err
	}
	return nil
}

func (c *client) ask(request *http.Request) error {
	if err := c.dial(request.URL.Host); err != nil {
		return err
	}
	if err := c.conn.SetDeadline(time.Now().Add(requestTime)); err != nil {
		return err
	}
	if err := request.Write(c.conn); err != nil {
		return err
	}
	response, err := http.ReadResponse(c.reader, request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return errors.Join(err, response.Body.Close())
}

// dial makes the connection if there is none.
func (c *client) dial(address string) (err error) {
	if c.conn != nil {
		return nil
	}
	c.crowd.dials.Add(1)
	if c.conn, err = net.DialTimeout("tcp", address, requestTime); err != nil {
		c.conn = nil
		return err
	}
	c.reader = bufio.NewReader(c.conn)
	return nil
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

func (c *crowd) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	if err != nil {
		c.failures = append(c.failures, err.Error())
	}
}

// stop lets the requests that are under way end, and reports.
func (c *crowd) stop() CrowdReport {
	c.cancel()
	c.clients.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	report := CrowdReport{Requests: c.requests, Dials: int(c.dials.Load()), Failed: len(c.failures)}
	report.Failures = c.failures[:min(len(c.failures), 5)]
	return report
}
