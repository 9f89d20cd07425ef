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
	// Gossip uses the first address.
	for _, network := range []string{"tcp", "udp"} {
		if err := canListen(ctx, network, "gossip-port", cfg.Underlay[0].Addr, cfg.GossipPort); err != nil {
			return err
		}
	}
	for _, l := range cfg.Underlay {
		if err := canListen(ctx, "tcp", "peer-port", l.Addr, cfg.PeerPort); err != nil {
			return err
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
