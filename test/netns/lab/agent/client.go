package agent

import (
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// Client is the starter's side of one agent.
type Client struct {
	cmd *exec.Cmd
	rpc *rpc.Client
}

// Start starts an agent. The given function starts the command in the
// namespace that it shall live in.
func Start(start func(*exec.Cmd) error) (*Client, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "agent"), os.NewFile(uintptr(pair[1]), "agent")
	defer func() { _, _ = ours.Close(), theirs.Close() }()
	cmd, err := Command(theirs)
	if err != nil {
		return nil, err
	}
	if err := start(cmd); err != nil {
		return nil, fmt.Errorf("start agent: %w", err)
	}
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("use socket pair: %w", err), cmd.Process.Kill(), cmd.Wait())
	}
	return &Client{cmd: cmd, rpc: rpc.NewClient(conn)}, nil
}

// PID is the agent's process.
func (c *Client) PID() int { return c.cmd.Process.Pid }

// Call calls a method of Agent by its name and waits for the reply.
func (c *Client) Call(method string, args, reply any) error {
	if err := c.rpc.Call("Agent."+method, args, reply); err != nil {
		return fmt.Errorf("ask agent to %s: %w", method, err)
	}
	return nil
}

// Close ends the agent and waits for it. A closed one is not an error.
func (c *Client) Close() error {
	if err := c.rpc.Close(); err != nil {
		if errors.Is(err, rpc.ErrShutdown) {
			return nil
		}
		return fmt.Errorf("close agent's socket: %w", err)
	}
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end agent: %w", err)
	}
	var ended *exec.ExitError
	if err := c.cmd.Wait(); err != nil && !errors.As(err, &ended) {
		return fmt.Errorf("wait for agent: %w", err)
	}
	return nil
}
