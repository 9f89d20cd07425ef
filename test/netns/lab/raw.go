package lab

import (
	"errors"
	"fmt"

	"edgenet.dev/edgenet/test/netns/lab/agent"
	"edgenet.dev/edgenet/test/netns/lab/frame"
)

// Injects sends frames out of an interface of the container, as they are.
func (c *Container) Injects(ifname string, frames ...[]byte) {
	c.t().Helper()
	c.call("Inject", agent.InjectArgs{Interface: ifname, Frames: frames}, &agent.None{})
}

// Capture is a running record of all frames of an interface.
type Capture struct {
	of *Container
	id int
}

// Captures starts to record every frame of an interface, in and out.
func (c *Container) Captures(ifname string) *Capture {
	c.t().Helper()
	capture := &Capture{of: c}
	c.call("StartCapture", ifname, &capture.id)
	return capture
}

// Frames returns what was recorded so far and can be read.
func (c *Capture) Frames() []frame.Frame {
	c.of.t().Helper()
	var raw [][]byte
	c.of.call("ReadCapture", c.id, &raw)
	return parse(raw)
}

// Stop ends the record and returns it.
func (c *Capture) Stop() []frame.Frame {
	c.of.t().Helper()
	var raw [][]byte
	c.of.call("StopCapture", c.id, &raw)
	return parse(raw)
}

// Shows awaits a frame that matches.
func (c *Capture) Shows(what string, match func(frame.Frame) bool) {
	c.of.t().Helper()
	c.of.host.lab.Await(fmt.Sprintf("%s sees %s", c.of, what), func() error {
		frames := c.Frames()
		for _, f := range frames {
			if match(f) {
				return nil
			}
		}
		return fmt.Errorf("none of %d frames", len(frames))
	})
}

// ShowsAfter has the container that records pinged by another, until an echo request
// is in the record: what the other sent before is in it by then, or was not delivered.
func (c *Capture) ShowsAfter(from *Container) {
	c.of.t().Helper()
	c.of.host.lab.Await(fmt.Sprintf("%s sees a ping of %s", c.of, from), func() error {
		past := len(c.Frames())
		if reply := from.Try(c.of.IP, "icmp"); reply.Outcome != agent.Answered {
			return fmt.Errorf("%s: %s", reply.Outcome, reply.Reason)
		}
		for _, f := range c.Frames()[past:] {
			if f.EtherType == frame.TypeIPv4 && f.Protocol == frame.ProtoICMP && f.Src == from.IP {
				return nil
			}
		}
		return errors.New("its echo request is not there")
	})
}

// ShowsNone ends the record and fails the test for each frame that matches.
func (c *Capture) ShowsNone(what string, match func(frame.Frame) bool) {
	c.of.t().Helper()
	for _, f := range c.Stop() {
		if match(f) {
			c.of.t().Errorf("%s must not see %s, but got %s", c.of, what, f)
		}
	}
}

func parse(raw [][]byte) []frame.Frame {
	var frames []frame.Frame
	for _, bytes := range raw {
		// Even a frame that cannot be read has been seen.
		f, _ := frame.Parse(bytes)
		frames = append(frames, f)
	}
	return frames
}
