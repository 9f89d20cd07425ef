package lab

import (
	"net/netip"
	"time"

	"edgenet.dev/edgenet/test/netns/lab/agent"
)

// Crowd is many HTTP clients in one container.
type Crowd = running[agent.CrowdReport]

// Crowds has so many clients, with a connection each that they keep, ask an http
// service at an interval. It returns when all have had an answer.
func (c *Container) Crowds(to netip.Addr, port uint16, connections int, interval time.Duration) *Crowd {
	c.t().Helper()
	args := agent.CrowdArgs{Target: to, Port: port, Connections: connections, Interval: interval}
	return start[agent.CrowdReport](c, "Crowd", args)
}

// Blast is datagrams at a steady rate.
type Blast = running[agent.BlastReport]

// Blasts sends so many datagrams of a size in bytes to a port in each second.
func (c *Container) Blasts(to netip.Addr, port uint16, rate, size int) *Blast {
	c.t().Helper()
	return start[agent.BlastReport](c, "Blast", agent.BlastArgs{Target: to, Port: port, Rate: rate, Size: size})
}
