package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/internal/config"
)

// checkUnderlay finds addresses that this host does not have and ports that are
// taken before anything depends on them: a node that has joined a mesh and then
// cannot listen is worse than one that says so and does not start.
func checkUnderlay(ctx context.Context, cfg config.Config) error {
	var problems []error
	for i, l := range cfg.Underlay {
		if i == 0 { // gossip uses the first
			problems = append(problems,
				canListen(ctx, "tcp", "gossip-port", l.Addr, cfg.GossipPort),
				canListen(ctx, "udp", "gossip-port", l.Addr, cfg.GossipPort))
		}
		problems = append(problems, canListen(ctx, "tcp", "peer-port", l.Addr, cfg.PeerPort))
	}
	for _, p := range problems {
		// The same cause shows at every port; once is enough.
		if p != nil {
			return p
		}
	}
	return nil
}

func canListen(ctx context.Context, network, setting string, addr netip.Addr, port uint16) error {
	var c net.ListenConfig
	at := netip.AddrPortFrom(addr, port).String()
	var err error
	if network == "udp" {
		var conn net.PacketConn
		if conn, err = c.ListenPacket(ctx, network, at); err == nil {
			return conn.Close()
		}
	} else {
		var l net.Listener
		if l, err = c.Listen(ctx, network, at); err == nil {
			return l.Close()
		}
	}
	switch {
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("underlay %s: no device of this host has this address", addr)
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("%s %d: another program listens at %s %s", setting, port, network, at)
	}
	return fmt.Errorf("%s %d: %w", setting, port, err)
}
