package agent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// blast sends datagrams at a steady rate and reads nothing.
type blast struct {
	conn   net.Conn
	cancel context.CancelFunc
	sender sync.WaitGroup
	report BlastReport
}

func startBlast(args BlastArgs) (*blast, error) {
	if args.Rate <= 0 || args.Size <= 0 {
		return nil, fmt.Errorf("blast of %d datagrams of %d bytes a second: both must be above zero", args.Rate, args.Size)
	}
	conn, err := net.Dial("udp", netip.AddrPortFrom(args.Target, args.Port).String())
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	b := &blast{conn: conn}
	var ctx context.Context
	ctx, b.cancel = context.WithCancel(context.Background())
	b.sender.Go(func() { b.send(ctx, args) })
	return b, nil
}

// send makes up for what a late tick has left out, up to a tenth of a second.
func (b *blast) send(ctx context.Context, args BlastArgs) {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	payload := make([]byte, args.Size)
	last, due := time.Now(), 0.0
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		due += min(now.Sub(last).Seconds(), 0.1) * float64(args.Rate)
		for last = now; due >= 1; due-- {
			if _, err := b.conn.Write(payload); err != nil {
				b.report.Refused++
			} else {
				b.report.Sent++
			}
		}
	}
}

func (b *blast) stop() (BlastReport, error) {
	b.cancel()
	b.sender.Wait()
	return b.report, b.conn.Close()
}
