package probe

import (
	"errors"
	"net"
)

// socket is a prober's socket and the goroutine that reads from it. Its methods
// are called by one goroutine.
type socket struct {
	prober *Prober
	conn   net.PacketConn // nil while there is none
	broken chan error     // gets why reading ended
	warned bool
}

// ensure opens a socket unless there is one that works.
func (s *socket) ensure() {
	if s.conn != nil {
		select {
		case err := <-s.broken:
			s.prober.cfg.Logger.Warn("probe socket failed", "err", err)
			_ = s.conn.Close()
			s.conn = nil
		default:
			return
		}
	}
	c, err := s.prober.cfg.Listen(s.prober.cfg.Source)
	if err != nil {
		if !s.warned { // once, not every two seconds
			s.prober.cfg.Logger.Warn("tunnels are not measured", "err", err)
		}
		s.warned = true
		return
	}
	s.conn, s.warned = c, false
	s.broken = make(chan error, 1)
	go read(s.prober, c, s.broken)
}

func read(p *Prober, c net.PacketConn, broken chan<- error) {
	buf := make([]byte, packetLen+1) // a longer packet shows by its length, also that it was not cut off
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			broken <- err
			return
		}
		p.receive(buf[:n], source(from))
	}
}

// close ends the reader and waits for it.
func (s *socket) close() {
	if s.conn == nil {
		return
	}
	_ = s.conn.Close()
	if err := <-s.broken; !errors.Is(err, net.ErrClosed) {
		s.prober.cfg.Logger.Warn("probe socket failed", "err", err)
	}
	s.conn = nil
}
