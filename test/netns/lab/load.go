package lab

import (
	"net/netip"
	"time"

	"edgenet.dev/edgenet/test/netns/lab/agent"
)

// Crowd is many HTTP clients in one container.
type Crowd struct {
	of *Container
	id int
}

// Crowds has so many clients, with a connection each that they keep, ask an http
// service at an interval. It returns when all have had an answer.
func (c *Container) Crowds(to netip.Addr, port uint16, connections int, interval time.Duration) *Crowd {
	c.t().Helper()
	crowd := &Crowd{of: c}
	args := agent.CrowdArgs{Target: to, Port: port, Connections: connections, Interval: interval}
	c.call("StartCrowd", args, &crowd.id)
	return crowd
}

// Stop ends the crowd and returns its count.
func (c *Crowd) Stop() agent.CrowdReport {
	c.of.t().Helper()
	var report agent.CrowdReport
	c.of.call("StopCrowd", c.id, &report)
	return report
}

// Blast is datagrams at a steady rate.
type Blast struct {
	of *Container
	id int
}

// Blasts sends so many datagrams of a size in bytes to a port in each second.
func (c *Container) Blasts(to netip.Addr, port uint16, rate, size int) *Blast {
	c.t().Helper()
	blast := &Blast{of: c}
	c.call("StartBlast", agent.BlastArgs{Target: to, Port: port, Rate: rate, Size: size}, &blast.id)
	return blast
}

// Stop ends the blast and returns its count.
func (b *Blast) Stop() agent.BlastReport {
	b.of.t().Helper()
	var report agent.BlastReport
	b.of.call("StopBlast", b.id, &report)
	return report
}
