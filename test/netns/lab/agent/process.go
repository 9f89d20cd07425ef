package agent

import (
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"os/exec"

	"github.com/vishvananda/netlink"
)

// asked is the variable that makes a program an agent; its value is ignored.
const asked = "EDGENET_LAB_AGENT"

// socketFD is the agent's end of the socket pair.
const socketFD = 3

// Command returns the command that starts this very program as an agent. The
// caller decides on its namespace.
func Command(socket *os.File) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own program: %w", err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), asked+"=1")
	cmd.ExtraFiles = []*os.File{socket}
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// RunIfAsked turns the process into an agent, and ends it with os.Exit, if it
// was started by Command. It is the first call of a program that uses package
// lab.
func RunIfAsked() {
	if os.Getenv(asked) == "" {
		return
	}
	if err := serve(); err != nil {
		fmt.Fprintf(os.Stderr, "agent: %v\n", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve answers calls until the socket closes.
func serve() error {
	file := os.NewFile(socketFD, "control")
	conn, err := net.FileConn(file)
	if err != nil {
		return fmt.Errorf("use control socket: %w", err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("close control socket's copy: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	server := rpc.NewServer()
	if err := server.RegisterName("Agent", newAgent()); err != nil {
		return fmt.Errorf("register agent: %w", err)
	}
	server.ServeConn(conn)
	return nil
}

// loopbackUp brings lo up, as a container's runtime does.
func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil && !errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("bring lo up: %w", err)
	}
	return nil
}
