package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// namePrefix begins the name of every namespace and directory of every lab; the
// process id of its owner follows.
const namePrefix = "enl"

// namespaceDir is where ip-netns keeps named namespaces.
const namespaceDir = "/run/netns"

// namespace is a named network namespace.
type namespace struct {
	name, path string
	// id is how /proc/PID/ns/net names it.
	id string
	// nl speaks netlink inside it.
	nl *netlink.Handle
}

// newNamespace makes a namespace with lo up.
func newNamespace(name string) (*namespace, error) {
	if err := command("ip", "netns", "add", name); err != nil {
		return nil, fmt.Errorf("add namespace: %w", err)
	}
	n := &namespace{name: name, path: filepath.Join(namespaceDir, name)}
	if err := n.open(); err != nil {
		return nil, errors.Join(err, n.delete())
	}
	return n, nil
}

func (n *namespace) open() error {
	handle, err := netns.GetFromPath(n.path)
	if err != nil {
		return fmt.Errorf("open namespace %s: %w", n.name, err)
	}
	defer func() { _ = handle.Close() }()
	if n.nl, err = netlink.NewHandleAt(handle); err != nil {
		return fmt.Errorf("open netlink in %s: %w", n.name, err)
	}
	err = inNamespace(n.path, func() (err error) {
		n.id, err = os.Readlink("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		return err
	}
	return n.up("lo")
}

// up brings an interface up.
func (n *namespace) up(ifname string) error {
	link, err := n.nl.LinkByName(ifname)
	if err != nil {
		return fmt.Errorf("find %s in %s: %w", ifname, n.name, err)
	}
	if err := n.nl.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring %s up in %s: %w", ifname, n.name, err)
	}
	return nil
}

// delete removes the name; the namespace goes when its last process does.
func (n *namespace) delete() error {
	if n.nl != nil {
		n.nl.Close()
	}
	return command("ip", "netns", "delete", n.name)
}

// inNamespace calls do on a thread that is in the namespace at path.
func inNamespace(path string, do func() error) error {
	result := make(chan error, 1)
	go func() { result <- switched(path, do) }()
	return <-result
}

func switched(path string, do func() error) error {
	runtime.LockOSThread()
	own, err := netns.Get()
	if err != nil {
		return fmt.Errorf("open own namespace: %w", err)
	}
	defer func() { _ = own.Close() }()
	target, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("open namespace %s: %w", path, err)
	}
	defer func() { _ = target.Close() }()
	if err := netns.Set(target); err != nil {
		return fmt.Errorf("enter namespace %s: %w", path, err)
	}
	err = do()
	if back := netns.Set(own); back != nil {
		// The thread stays locked, so that it ends with this goroutine and no
		// other ever runs on it.
		return errors.Join(err, fmt.Errorf("return to own namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

// startIn starts a command in the namespace at path.
func startIn(path string, cmd *exec.Cmd) error {
	return inNamespace(path, cmd.Start)
}

// command runs a program and puts what it said into its error.
func command(name string, args ...string) error {
	output, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}
