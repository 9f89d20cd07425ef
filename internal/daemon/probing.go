package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel/probe"
)

// proofInterval is the time between two probes that prove a way: somebody waits
// for it.
const proofInterval = 200 * time.Millisecond

// probing runs a prober while the node has an overlay address to probe from.
type probing struct {
	log *slog.Logger
	// changed is called when the MTU to a peer is another. It does not block.
	changed func()
	// via is Kernel's.
	via func(device string) func(source netip.Addr) (net.PacketConn, error)

	mu     sync.Mutex
	source netip.Addr
	device string
	prober *probe.Prober
	cancel context.CancelFunc
	done   chan struct{}
}

// set probes peers from source, for as long as ctx: by a device, or, if it is
// empty, by where the routes lead.
func (p *probing) set(ctx context.Context, source netip.Addr, device string, peers []probe.Peer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.prober == nil || p.source != source || p.device != device {
		p.stopLocked()
		cfg := probe.Config{Logger: p.log, Source: source, Changed: p.changed}
		if device != "" {
			cfg.Listen, cfg.Interval = p.via(device), proofInterval
		}
		prober, err := probe.New(cfg)
		if err != nil {
			return fmt.Errorf("measure tunnels: %w", err)
		}
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := prober.Run(ctx); err != nil {
				p.log.Warn("tunnels are no longer measured", "err", err)
			}
		}()
		p.source, p.device, p.prober, p.cancel, p.done = source, device, prober, cancel, done
	}
	p.prober.SetPeers(peers)
	return nil
}

// stop ends probing and waits for it.
func (p *probing) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopLocked()
}

func (p *probing) stopLocked() {
	if p.prober == nil {
		return
	}
	p.cancel()
	<-p.done
	p.prober = nil
}

// stats is what is known of all peers.
func (p *probing) stats() map[netip.Addr]probe.Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.prober == nil {
		return nil
	}
	return p.prober.Stats()
}
