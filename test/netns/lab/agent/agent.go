package agent

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// None is the argument or the reply of a call that has none.
type None struct{}

// Agent is what the calls of the socket reach. Exported methods follow net/rpc.
type Agent struct {
	mu       sync.Mutex
	next     int
	pings    map[int]*pinger
	flows    map[int]*flow
	captures map[int]*capture
	spies    map[int]*spy
	crowds   map[int]*crowd
	blasts   map[int]*blast
}

func newAgent() *Agent {
	return &Agent{
		pings:    make(map[int]*pinger),
		flows:    make(map[int]*flow),
		captures: make(map[int]*capture),
		spies:    make(map[int]*spy),
		crowds:   make(map[int]*crowd),
		blasts:   make(map[int]*blast),
	}
}

// Serve starts a server; it runs until the agent ends.
func (a *Agent) Serve(args ServeArgs, _ *None) error { return serveNetwork(args) }

// Probe tries once to reach a service.
func (a *Agent) Probe(args ProbeArgs, reply *ProbeReply) error {
	*reply = probe(args)
	return nil
}

// Say sends a text to a port and does not wait for an answer.
func (a *Agent) Say(args SayArgs, _ *None) error { return say(args) }

// Transfer sends bytes to an echoing server and compares what comes back.
func (a *Agent) Transfer(args TransferArgs, _ *None) error { return transfer(args) }

// StartPing starts a steady ping and returns its number.
func (a *Agent) StartPing(args PingArgs, id *int) error {
	p, err := startPinger(args)
	if err != nil {
		return err
	}
	*id = keep(a, a.pings, p)
	return nil
}

// StopPing ends a ping, waits for its last answers, and reports.
func (a *Agent) StopPing(id int, report *PingReport) error {
	p, err := take(a, a.pings, id)
	if err != nil {
		return err
	}
	*report = p.stop(time.Second)
	return nil
}

// StartFlow opens a connection, starts to talk, and returns its number.
func (a *Agent) StartFlow(args FlowArgs, id *int) error {
	f, err := startFlow(args)
	if err != nil {
		return err
	}
	*id = keep(a, a.flows, f)
	return nil
}

// CheckFlow says how a flow is doing.
func (a *Agent) CheckFlow(id int, status *FlowStatus) error {
	a.mu.Lock()
	f := a.flows[id]
	a.mu.Unlock()
	if f == nil {
		return fmt.Errorf("no flow %d", id)
	}
	*status = f.status()
	return nil
}

// StopFlow closes a flow.
func (a *Agent) StopFlow(id int, status *FlowStatus) error {
	f, err := take(a, a.flows, id)
	if err != nil {
		return err
	}
	*status = f.status()
	return f.close()
}

// StartCrowd starts many HTTP clients and returns their number.
func (a *Agent) StartCrowd(args CrowdArgs, id *int) error {
	c, err := startCrowd(args)
	if err != nil {
		return err
	}
	*id = keep(a, a.crowds, c)
	return nil
}

// StopCrowd ends a crowd and reports.
func (a *Agent) StopCrowd(id int, report *CrowdReport) error {
	c, err := take(a, a.crowds, id)
	if err != nil {
		return err
	}
	*report = c.stop()
	return nil
}

// StartBlast starts to send datagrams and returns a number.
func (a *Agent) StartBlast(args BlastArgs, id *int) error {
	b, err := startBlast(args)
	if err != nil {
		return err
	}
	*id = keep(a, a.blasts, b)
	return nil
}

// StopBlast ends a blast and reports.
func (a *Agent) StopBlast(id int, report *BlastReport) error {
	b, err := take(a, a.blasts, id)
	if err != nil {
		return err
	}
	*report, err = b.stop()
	return err
}

// Inject sends frames as they are.
func (a *Agent) Inject(args InjectArgs, _ *None) error { return inject(args) }

// StartCapture records every frame of an interface and returns a number.
func (a *Agent) StartCapture(ifname string, id *int) error {
	c, err := startCapture(ifname)
	if err != nil {
		return err
	}
	*id = keep(a, a.captures, c)
	return nil
}

// ReadCapture returns the frames so far.
func (a *Agent) ReadCapture(id int, frames *[][]byte) error {
	a.mu.Lock()
	c := a.captures[id]
	a.mu.Unlock()
	if c == nil {
		return fmt.Errorf("no capture %d", id)
	}
	*frames = c.read()
	return nil
}

// StopCapture ends a capture and returns its frames.
func (a *Agent) StopCapture(id int, frames *[][]byte) error {
	c, err := take(a, a.captures, id)
	if err != nil {
		return err
	}
	*frames, err = c.stop()
	return err
}

// StartSpy looks at every frame of an interface and returns a number.
func (a *Agent) StartSpy(args SpyArgs, id *int) error {
	s, err := startSpy(args)
	if err != nil {
		return err
	}
	*id = keep(a, a.spies, s)
	return nil
}

// StopSpy ends a spy and reports.
func (a *Agent) StopSpy(id int, report *SpyReport) error {
	s, err := take(a, a.spies, id)
	if err != nil {
		return err
	}
	*report, err = s.stop()
	return err
}

// Interfaces lists the namespace's interfaces.
func (a *Agent) Interfaces(_ None, reply *[]Interface) error {
	all, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, each := range all {
		iface := Interface{Name: each.Name, MAC: each.HardwareAddr.String(), MTU: each.MTU}
		addresses, err := each.Addrs()
		if err != nil {
			return fmt.Errorf("list addresses of %s: %w", each.Name, err)
		}
		for _, address := range addresses {
			if prefix, err := netip.ParsePrefix(address.String()); err == nil {
				iface.Addresses = append(iface.Addresses, prefix)
			}
		}
		*reply = append(*reply, iface)
	}
	return nil
}

// keep stores a running thing under a new number.
func keep[T any](a *Agent, in map[int]T, thing T) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next++
	in[a.next] = thing
	return a.next
}

// take removes and returns the thing of a number.
func take[T any](a *Agent, from map[int]T, id int) (T, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	thing, ok := from[id]
	if !ok {
		return thing, fmt.Errorf("nothing runs under number %d", id)
	}
	delete(from, id)
	return thing, nil
}
