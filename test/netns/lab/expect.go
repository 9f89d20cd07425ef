package lab

import (
	"fmt"
	"net/netip"
	"time"

	"edgenet.dev/edgenet/test/netns/lab/agent"
)

// tryTime is how long one attempt may take; blockedTries of them in a row must
// get no answer before something counts as blocked.
const (
	tryTime      = 500 * time.Millisecond
	blockedTries = 3
)

// Reaches awaits that the container's attempts at each service get an answer,
// and from the right one: addresses are not unique, names are.
func (c *Container) Reaches(to *Container, services ...string) {
	c.t().Helper()
	for _, service := range services {
		c.reaches(to.IP, to.answer(), to.String(), service)
	}
}

// ReachesAddr is Reaches for an address and the answer to expect there ("" for
// any).
func (c *Container) ReachesAddr(to netip.Addr, answer, service string) {
	c.t().Helper()
	c.reaches(to, answer, to.String(), service)
}

func (c *Container) reaches(to netip.Addr, answer, whom, service string) {
	c.t().Helper()
	what := fmt.Sprintf("%s reaches %s on %s", c, whom, service)
	c.host.lab.Await(what, func() error {
		reply := c.Try(to, service)
		if reply.Outcome != agent.Answered {
			return fmt.Errorf("%s: %s", reply.Outcome, reply.Reason)
		}
		// An echo reply does not say whose it is.
		if answer != "" && service != "icmp" && reply.Answer != answer {
			return fmt.Errorf("answered by %s", reply.Answer)
		}
		return nil
	})
}

// Blocked awaits that several attempts in a row at each service get no answer
// of any kind.
func (c *Container) Blocked(to *Container, services ...string) {
	c.t().Helper()
	for _, service := range services {
		c.BlockedAddr(to.IP, service)
	}
}

// BlockedAddr is Blocked for an address.
func (c *Container) BlockedAddr(to netip.Addr, service string) {
	c.t().Helper()
	c.host.lab.Await(fmt.Sprintf("%s is blocked from %s on %s", c, to, service), func() error {
		for range blockedTries {
			if err := c.notAnswered(to, service); err != nil {
				return err
			}
		}
		return nil
	})
}

// NeverReaches expects that no attempt is answered, from the very first.
func (c *Container) NeverReaches(to netip.Addr, services ...string) {
	c.t().Helper()
	for _, service := range services {
		for range blockedTries {
			if err := c.notAnswered(to, service); err != nil {
				c.t().Errorf("%s must never reach %s on %s: %v", c, to, service, err)
				return
			}
		}
	}
}

// notAnswered tries once and returns an error if anything came back from there.
func (c *Container) notAnswered(to netip.Addr, service string) error {
	reply := c.Try(to, service)
	if reply.Outcome == agent.Answered || reply.Outcome == agent.Refused {
		return fmt.Errorf("%s %s", reply.Outcome, reply.Answer)
	}
	return nil
}

// Sends sends messages of a size in bytes to a tcp or udp service, and expects
// each back unchanged.
func (c *Container) Sends(to *Container, service string, size, count int) {
	c.t().Helper()
	network, port, err := parseService(service)
	if err != nil {
		c.t().Fatalf("%s: %v", c, err)
	}
	args := agent.TransferArgs{
		Network: network, Target: to.IP, Port: port, Size: size, Count: count, Timeout: patience,
	}
	if err := c.agent.Call("Transfer", args, &agent.None{}); err != nil {
		c.t().Errorf("%s sends %d times %d bytes to %s on %s: %v", c, count, size, to, service, err)
	}
}

// Says sends a text to a tcp or udp port and waits for no answer.
func (c *Container) Says(network string, to netip.Addr, port uint16, text string) {
	c.t().Helper()
	args := agent.SayArgs{Network: network, Target: to, Port: port, Text: text}
	c.call("Say", args, &agent.None{})
}

// Try makes one attempt.
func (c *Container) Try(to netip.Addr, service string) agent.ProbeReply {
	c.t().Helper()
	network, port, err := parseService(service)
	if err != nil {
		c.t().Fatalf("%s: %v", c, err)
	}
	var reply agent.ProbeReply
	args := agent.ProbeArgs{Network: network, Target: to, Port: port, Timeout: tryTime}
	if err := c.agent.Call("Probe", args, &reply); err != nil {
		c.t().Fatalf("%s: %v", c, err)
	}
	return reply
}
