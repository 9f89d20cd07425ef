package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"edgenet.dev/edgenet/test/netns/lab/agent"
)

// Container is a workload: a network namespace held by a process in it.
type Container struct {
	// Name is also what its servers answer with, after the host's: "edge-1/web".
	Name string
	// VPC and IP are of its attachment; IP is the first address.
	VPC string
	IP  netip.Addr
	// IP6 is its first IPv6 address, if it has one.
	IP6 netip.Addr

	host  *Host
	agent *agent.Client
}

// Container makes a container on this host. It is attached to nothing.
func (h *Host) Container(name string) *Container {
	h.lab.t.Helper()
	c, err := newContainer(h, name, "")
	if err != nil {
		h.lab.t.Fatalf("make container %s: %v", name, err)
	}
	h.lab.containers = append(h.lab.containers, c)
	return c
}

// newContainer starts an agent in the namespace at path, or in a new one.
func newContainer(h *Host, name, path string) (*Container, error) {
	client, err := agent.Start(func(cmd *exec.Cmd) error {
		if path != "" {
			return startIn(path, cmd)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		return cmd.Start()
	})
	if err != nil {
		return nil, err
	}
	return &Container{Name: name, host: h, agent: client}, nil
}

// Insider is a process with root's rights on the host itself, beside the daemon:
// what an attacker has who took the host over.
func (h *Host) Insider(name string) *Container {
	h.lab.t.Helper()
	c, err := newContainer(h, name, h.ns.path)
	if err != nil {
		h.lab.t.Fatalf("make insider %s: %v", name, err)
	}
	c.IP = h.Underlay
	h.lab.strangers = append(h.lab.strangers, c)
	return c
}

// Runs runs a program in the container's network namespace.
func (c *Container) Runs(name string, args ...string) Result {
	c.t().Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := startIn(c.Netns(), cmd); err != nil {
		c.t().Fatalf("%s: run %s: %v", c, name, err)
	}
	_ = cmd.Wait() // the result has how it ended
	return Result{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
}

// Netns is the path of its namespace.
func (c *Container) Netns() string { return fmt.Sprintf("/proc/%d/ns/net", c.agent.PID()) }

// PID is the process that holds its namespace.
func (c *Container) PID() int { return c.agent.PID() }

// Host is where it runs.
func (c *Container) Host() *Host { return c.host }

// Exit ends the container's process; its namespace goes with it.
func (c *Container) Exit() {
	c.t().Helper()
	if err := c.agent.Close(); err != nil {
		c.t().Errorf("end container %s: %v", c.Name, err)
	}
}

// On6 is the same container, spoken to by its IPv6 address.
func (c *Container) On6() *Container {
	other := *c
	other.IP = c.IP6
	return &other
}

// Attach attaches the container to a VPC, on its host, under its own name. Several
// addresses are separated by commas.
func (c *Container) Attach(vpc, ip string, groups ...string) {
	c.t().Helper()
	result := c.TryAttach(vpc, ip, groups...)
	// On an emulated machine the first attach, which opens the datapath, may take
	// longer than edgenetctl waits. The same attach again changes nothing.
	for end := time.Now().Add(patience); slowness > 1 && strings.Contains(result.Stderr, "did not answer within") && time.Now().Before(end); {
		result = c.TryAttach(vpc, ip, groups...)
	}
	if result.Code != 0 {
		c.t().Fatalf("attach %s to %s at %s: exit %d: %s", c, vpc, ip, result.Code, result.Stderr)
	}
}

// TryAttach is Attach that may fail.
func (c *Container) TryAttach(vpc, ip string, groups ...string) Result {
	c.t().Helper()
	args := []string{"endpoint", "attach", c.Name, "--vpc", vpc, "--ip", ip, "--netns", c.Netns()}
	for _, group := range groups {
		args = append(args, "--group", group)
	}
	var addresses []netip.Addr
	for _, text := range strings.Split(ip, ",") {
		address, err := netip.ParseAddr(text)
		if err != nil {
			c.t().Fatalf("attach %s: %v", c.Name, err)
		}
		addresses = append(addresses, address)
	}
	result := c.host.Ctl(args...)
	if result.Code == 0 {
		c.VPC, c.IP, c.IP6 = vpc, addresses[0], netip.Addr{}
		if i := slices.IndexFunc(addresses, netip.Addr.Is6); i >= 0 {
			c.IP6 = addresses[i]
		}
	}
	return result
}

// Detach removes the container's endpoint.
func (c *Container) Detach() {
	c.t().Helper()
	c.host.MustCtl("endpoint", "detach", c.Name, "--vpc", c.VPC)
}

// Serves starts servers that answer with the container's full name. A service
// is written tcp/80, udp/53 or http/8080.
func (c *Container) Serves(services ...string) *Container {
	c.t().Helper()
	for _, service := range services {
		network, port, err := parseService(service)
		if err != nil {
			c.t().Fatalf("%s: %v", c, err)
		}
		args := agent.ServeArgs{Network: network, Port: port, Answer: c.answer()}
		c.call("Serve", args, &agent.None{})
	}
	return c
}

// answer is what the container's servers say.
func (c *Container) answer() string { return c.host.Name + "/" + c.Name }

// Interfaces lists the interfaces in its namespace.
func (c *Container) Interfaces() []agent.Interface {
	c.t().Helper()
	var found []agent.Interface
	c.call("Interfaces", agent.None{}, &found)
	return found
}

// Interface returns the interface of that name, if it is there.
func (c *Container) Interface(name string) (agent.Interface, bool) {
	c.t().Helper()
	for _, each := range c.Interfaces() {
		if each.Name == name {
			return each, true
		}
	}
	return agent.Interface{}, false
}

// MAC is the address of its eth0.
func (c *Container) MAC() net.HardwareAddr {
	c.t().Helper()
	return c.MACOf("eth0")
}

// MACOf is the address of one of its interfaces.
func (c *Container) MACOf(ifname string) net.HardwareAddr {
	c.t().Helper()
	found, ok := c.Interface(ifname)
	if !ok {
		c.t().Fatalf("%s has no %s", c, ifname)
	}
	mac, err := net.ParseMAC(found.MAC)
	if err != nil {
		c.t().Fatalf("%s: %v", c, err)
	}
	return mac
}

// String names the container, its host and its address.
func (c *Container) String() string {
	if !c.IP.IsValid() {
		return c.answer()
	}
	return fmt.Sprintf("%s (%s %s)", c.answer(), c.VPC, c.IP)
}

func (c *Container) t() TB { return c.host.lab.t }

// call calls the agent and fails the test on an error.
func (c *Container) call(method string, args, reply any) {
	c.t().Helper()
	if err := c.agent.Call(method, args, reply); err != nil {
		c.t().Fatalf("%s: %v", c, err)
	}
}

// parseService reads tcp/80, udp/53, http/8080 or icmp.
func parseService(service string) (network string, port uint16, err error) {
	network, number, hasPort := strings.Cut(service, "/")
	switch network {
	case "icmp":
		if hasPort {
			return "", 0, fmt.Errorf("service %q: icmp has no port", service)
		}
		return network, 0, nil
	case "tcp", "udp", "http", "sink":
		value, err := strconv.ParseUint(number, 10, 16)
		if err != nil || value == 0 {
			return "", 0, fmt.Errorf("service %q: want %s/PORT", service, network)
		}
		return network, uint16(value), nil
	default:
		return "", 0, fmt.Errorf("service %q: want tcp/PORT, udp/PORT, http/PORT, sink/PORT or icmp", service)
	}
}
