package agent

import (
	"context"
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
	transport := &http.Transport{
		MaxConnsPerHost: 1,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c.dials.Add(1)
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, address)
		},
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: requestTime}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	c.note(get(client, url))
	began()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.note(get(client, url))
		}
	}
}

// get asks once and reads the answer, so that the connection can be used again.
func get(client *http.Client, url string) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	_, err = io.Copy(io.Discard, response.Body)
	return err
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
