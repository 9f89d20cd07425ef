package lab

import (
	"fmt"

	"edgenet.dev/edgenet/test/netns/lab/agent"
	"edgenet.dev/edgenet/test/netns/lab/frame"
)

// Ports of a host as it is by default: of tunnels (WireGuard, IPsec), of gossip,
// and of what nodes ask one another.
var (
	udpPorts = []uint16{51820, 51821, 7946}
	tcpPorts = []uint16{7946, 7947}
)

// Spy looks at frames for as long as a scenario takes, and keeps those that nobody
// expects.
type Spy struct{ *running[agent.SpyReport] }

// Spies starts to look at every frame on the host's cable, both ways. extra are UDP
// ports that the host uses besides its own.
func (h *Host) Spies(extra ...uint16) *Spy {
	h.lab.t.Helper()
	return h.lab.wire(h).Spies(h.port, append(extra, udpPorts...)...)
}

// Spies starts to look at every frame of an interface of the container.
func (c *Container) Spies(ifname string, udp ...uint16) *Spy {
	c.t().Helper()
	return &Spy{start[agent.SpyReport](c, "Spy", agent.SpyArgs{Interface: ifname, UDP: udp, TCP: tcpPorts})}
}

// SeesNothing ends the spy and fails the test for what it read, and for what it did
// not expect.
func (s *Spy) SeesNothing() agent.SpyReport {
	s.from.t().Helper()
	report := s.Stop()
	if report.Marked > 0 || report.Odd > 0 {
		s.from.t().Errorf("of %d frames on the wire %d show what containers sent, and %d are nothing that hosts say: %s",
			report.Frames, report.Marked, report.Odd, describeFrames(report.Suspects))
	}
	return report
}

func describeFrames(raw [][]byte) string {
	text := ""
	for _, bytes := range raw {
		f, err := frame.Parse(bytes)
		text += fmt.Sprintf("\n%s %v %x", f, err, bytes)
	}
	return text
}
