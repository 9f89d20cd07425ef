package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// lastEcho numbers the echo identifiers of this process.
var lastEcho atomic.Uint32

// pinger sends echo requests at an interval and remembers the answers.
type pinger struct {
	args   PingArgs
	id     uint16
	conn   *icmp.PacketConn
	cancel context.CancelFunc
	sender sync.WaitGroup
	reader sync.WaitGroup

	mu   sync.Mutex
	sent []time.Time
	rtts map[int]time.Duration
	// answered has a token after each answer.
	answered chan struct{}
}

// newPinger opens a socket and starts to read; it sends nothing yet.
func newPinger(args PingArgs) (*pinger, error) {
	network, wildcard := "ip4:icmp", "0.0.0.0"
	if args.Target.Is6() {
		network, wildcard = "ip6:ipv6-icmp", "::"
	}
	conn, err := icmp.ListenPacket(network, wildcard)
	if err != nil {
		return nil, fmt.Errorf("open icmp socket: %w", err)
	}
	p := &pinger{
		args: args, conn: conn, rtts: make(map[int]time.Duration),
		id:       uint16(os.Getpid()) ^ uint16(lastEcho.Add(1)<<8),
		answered: make(chan struct{}, 1),
	}
	p.reader.Go(p.read)
	return p, nil
}

// startPinger starts to send at once.
func startPinger(args PingArgs) (*pinger, error) {
	if args.Interval <= 0 {
		return nil, fmt.Errorf("ping %s: the interval must be above zero", args.Target)
	}
	p, err := newPinger(args)
	if err != nil {
		return nil, err
	}
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	p.sender.Go(func() { p.send(ctx) })
	return p, nil
}

// send sends until the context ends. What cannot be sent counts as lost.
func (p *pinger) send(ctx context.Context) {
	ticker := time.NewTicker(p.args.Interval)
	defer ticker.Stop()
	for {
		_ = p.sendOne()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (p *pinger) sendOne() error {
	p.mu.Lock()
	number := len(p.sent)
	p.sent = append(p.sent, time.Now())
	p.mu.Unlock()
	// The number is in the payload too: sequence numbers wrap.
	payload := append(binary.BigEndian.AppendUint32(nil, uint32(number)), Marker...)
	message := icmp.Message{
		Type: ipv4.ICMPTypeEcho,
		Body: &icmp.Echo{ID: int(p.id), Seq: number & 0xffff, Data: payload},
	}
	if p.args.Target.Is6() {
		message.Type = ipv6.ICMPTypeEchoRequest // the kernel adds the checksum
	}
	bytes, err := message.Marshal(nil)
	if err != nil {
		return fmt.Errorf("marshal echo: %w", err)
	}
	_, err = p.conn.WriteTo(bytes, &net.IPAddr{IP: p.args.Target.AsSlice()})
	return err
}

// read notes answers until the socket is closed.
func (p *pinger) read() {
	buffer := make([]byte, 1500)
	for {
		n, from, err := p.conn.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if source, ok := from.(*net.IPAddr); ok && source.IP.Equal(p.args.Target.AsSlice()) {
			p.note(buffer[:n], time.Now())
		}
	}
}

// note takes one ICMP message.
func (p *pinger) note(bytes []byte, now time.Time) {
	protocol := ipv4.ICMPTypeEchoReply.Protocol()
	if p.args.Target.Is6() {
		protocol = ipv6.ICMPTypeEchoReply.Protocol()
	}
	message, err := icmp.ParseMessage(protocol, bytes)
	if err != nil || message.Type != ipv4.ICMPTypeEchoReply && message.Type != ipv6.ICMPTypeEchoReply {
		return
	}
	reply, ok := message.Body.(*icmp.Echo)
	if !ok || reply.ID != int(p.id) || len(reply.Data) != 4+len(Marker) {
		return
	}
	number := int(binary.BigEndian.Uint32(reply.Data))
	p.mu.Lock()
	defer p.mu.Unlock()
	if number >= len(p.sent) {
		return
	}
	if _, again := p.rtts[number]; !again {
		p.rtts[number] = now.Sub(p.sent[number])
	}
	select {
	case p.answered <- struct{}{}:
	default:
	}
}

// stop ends sending, gives the last answers up to grace, and reports.
func (p *pinger) stop(grace time.Duration) PingReport {
	p.cancel()
	p.sender.Wait()
	late := time.NewTimer(grace)
	defer late.Stop()
	for waiting := true; waiting && !p.complete(); {
		select {
		case <-p.answered:
		case <-late.C:
			waiting = false
		}
	}
	p.close()
	return p.report()
}

func (p *pinger) close() {
	_ = p.conn.Close()
	p.reader.Wait()
}

// complete says whether every request is answered.
func (p *pinger) complete() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.rtts) == len(p.sent)
}

func (p *pinger) report() PingReport {
	p.mu.Lock()
	defer p.mu.Unlock()
	report := PingReport{Sent: len(p.sent), Received: len(p.rtts), Interval: p.args.Interval}
	for number, sent := range p.sent {
		if number == 0 {
			report.Began = sent
		}
		if rtt, ok := p.rtts[number]; ok {
			report.RTTs = append(report.RTTs, rtt)
		} else {
			report.Lost = append(report.Lost, number)
			report.LostAt = append(report.LostAt, sent.Sub(report.Began))
		}
	}
	return report
}

// pingOnce sends one request and waits for its answer.
func pingOnce(ctx context.Context, target netip.Addr) error {
	p, err := newPinger(PingArgs{Target: target})
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.sendOne(); err != nil {
		return err
	}
	select {
	case <-p.answered:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
