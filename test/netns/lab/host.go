package lab

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// Host is one machine: a network namespace with an edgenetd of its own.
type Host struct {
	// Name is the node's name.
	Name string
	// Underlay is its address on the internet.
	Underlay netip.Addr
	// Launch says how its daemon is put into the namespace. Hosts of a lab take
	// turns, so that every lab of two or more has both kinds.
	Launch Launch
	// Flags are the daemon's flags, without dashes; a test may change them
	// before a start.
	Flags map[string]string
	// Env is added to the daemon's environment.
	Env []string

	lab *Lab
	dir string
	// program is its edgenetd; empty is the one that was built.
	program string
	port    string
	ns      *namespace
	daemon  *daemon
	marks   *footprint
	// started is set by the first start that came up.
	started bool
}

// build makes the namespace, the cable and the directories.
func (h *Host) build() (err error) {
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return fmt.Errorf("make host directory: %w", err)
	}
	config := filepath.Join(h.dir, "edgenetd.yaml")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		return fmt.Errorf("write empty configuration: %w", err)
	}
	h.Flags = map[string]string{
		"config": config, "name": h.Name, "underlay": h.Underlay.String(),
		"state-dir": h.StateDir(), "run-dir": h.RunDir(),
		"log-level": "debug", "log-format": "text",
	}
	if drivers := cmp.Or(h.lab.driver, Drivers); drivers != "" {
		h.Flags["tunnel-drivers"] = drivers
	}
	if h.ns, err = newNamespace(h.lab.prefix + h.port); err != nil {
		return err
	}
	return plug(h.lab.internet, h.ns, h.port, h.Underlay)
}

// StateDir is what the daemon keeps over restarts.
func (h *Host) StateDir() string { return filepath.Join(h.dir, "state") }

// RunDir is where the control socket is.
func (h *Host) RunDir() string { return filepath.Join(h.dir, "run") }

// Socket is the daemon's control socket.
func (h *Host) Socket() string { return filepath.Join(h.RunDir(), "edgenetd.sock") }

// Config is the path of the configuration file, empty unless a test writes it.
func (h *Host) Config() string { return filepath.Join(h.dir, "edgenetd.yaml") }

// String is the host's name.
func (h *Host) String() string { return h.Name }

// Namespace is the path of the host's network namespace.
func (h *Host) Namespace() string { return h.ns.path }

// NamespaceName is its name for ip-netns.
func (h *Host) NamespaceName() string { return h.ns.name }

// CutOff pulls the host's cable: nothing reaches it, nothing leaves it.
func (h *Host) CutOff() { h.cable("cut off", (*netlink.Handle).LinkSetDown) }

// PlugIn puts the cable back.
func (h *Host) PlugIn() { h.cable("plug in", (*netlink.Handle).LinkSetUp) }

func (h *Host) cable(what string, set func(*netlink.Handle, netlink.Link) error) {
	h.lab.t.Helper()
	link, err := h.lab.internet.nl.LinkByName(h.port)
	if err == nil {
		err = set(h.lab.internet.nl, link)
	}
	if err != nil {
		h.lab.t.Fatalf("%s %s: %v", what, h.Name, err)
	}
}

// devices returns the host's network devices but for lo and the underlay's.
func (h *Host) devices() ([]netlink.Link, error) {
	links, err := h.ns.nl.LinkList()
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		links, err = h.ns.nl.LinkList()
	}
	if err != nil {
		return nil, fmt.Errorf("list devices of %s: %w", h.Name, err)
	}
	var found []netlink.Link
	for _, link := range links {
		if name := link.Attrs().Name; name != "lo" && name != underlayDevice {
			found = append(found, link)
		}
	}
	return found, nil
}

// Devices returns the names of the host's devices but for lo and the underlay's.
func (h *Host) Devices() []string {
	h.lab.t.Helper()
	devices, err := h.devices()
	if err != nil {
		h.lab.t.Fatalf("%v", err)
	}
	var names []string
	for _, device := range devices {
		names = append(names, device.Attrs().Name)
	}
	return names
}

// EndpointDevices returns those of containers: the host's ends of veth pairs.
func (h *Host) EndpointDevices() []string {
	h.lab.t.Helper()
	return slices.DeleteFunc(h.Devices(), func(name string) bool { return !strings.HasPrefix(name, "env") })
}
