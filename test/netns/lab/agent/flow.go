package agent

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// flow is a TCP connection that sends a line at an interval and reads the
// echoes.
type flow struct {
	conn   net.Conn
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu    sync.Mutex
	peer  string
	count int
	last  time.Time
	// longest is the longest time between two echoes.
	longest time.Duration
	ended   string
}

// startFlow connects and starts to talk.
func startFlow(args FlowArgs) (*flow, error) {
	if args.Interval <= 0 {
		return nil, fmt.Errorf("flow to %s: the interval must be above zero", args.Target)
	}
	dialing, done := context.WithTimeout(context.Background(), 5*time.Second)
	defer done()
	var dialer net.Dialer
	conn, err := dialer.DialContext(dialing, "tcp", netip.AddrPortFrom(args.Target, args.Port).String())
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	reader := bufio.NewReader(conn)
	peer, err := reader.ReadString('\n')
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("read greeting: %w", err)
	}
	f := &flow{conn: conn, peer: strings.TrimSpace(peer), last: time.Now()}
	var ctx context.Context
	ctx, f.cancel = context.WithCancel(context.Background())
	f.tasks.Go(func() { f.talk(ctx, args.Interval, args.Size) })
	f.tasks.Go(func() { f.listen(reader) })
	return f, nil
}

func (f *flow) talk(ctx context.Context, interval time.Duration, size int) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for number := 0; ; number++ {
		line := fmt.Sprintf("%s %0*d\n", Marker, max(0, size-len(Marker)-2), number)
		if _, err := io.WriteString(f.conn, line); err != nil {
			f.end(err)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (f *flow) listen(reader *bufio.Reader) {
	for {
		if _, err := reader.ReadString('\n'); err != nil {
			f.end(err)
			return
		}
		f.mu.Lock()
		f.count++
		f.longest = max(f.longest, time.Since(f.last))
		f.last = time.Now()
		f.mu.Unlock()
	}
}

// end notes the first reason why the connection is over.
func (f *flow) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended == "" {
		f.ended = err.Error()
	}
}

func (f *flow) status() FlowStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	return FlowStatus{Peer: f.peer, Echoes: f.count, Quiet: time.Since(f.last), Longest: f.longest, Ended: f.ended}
}

func (f *flow) close() error {
	f.cancel()
	err := f.conn.Close()
	f.tasks.Wait()
	return err
}
