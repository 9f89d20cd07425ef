package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// wireguardSockets is where userspace WireGuard puts its sockets.
const wireguardSockets = "/var/run/wireguard"

// footprint is what a host's daemons were seen to have in the kernel, so that
// it can be asked for when it should be gone. It is noted by name and number:
// other labs, and other programs, may have the like at the same time.
type footprint struct {
	bpf     map[bpfID]bool
	sockets map[string]bool
}

func newFootprint() *footprint {
	return &footprint{bpf: make(map[bpfID]bool), sockets: make(map[string]bool)}
}

// note adds what the host's daemon has now.
func (f *footprint) note(h *Host) {
	if h.daemon != nil {
		for _, id := range bpfOf(h.daemon.cmd.Process.Pid) {
			f.bpf[id] = true
		}
	}
	devices, err := h.devices()
	if err != nil {
		return
	}
	for _, device := range devices {
		socket := filepath.Join(wireguardSockets, device.Attrs().Name+".sock")
		if _, err := os.Stat(socket); err == nil {
			f.sockets[socket] = true
		}
	}
}

// left returns an error that names everything of the host's that still is.
func (f *footprint) left(h *Host) error {
	var problems []error
	if pids := h.TunnelPIDs(); len(pids) > 0 {
		problems = append(problems, fmt.Errorf("processes: %s", describe(pids)))
	}
	devices, err := h.devices()
	problems = append(problems, err)
	for _, device := range devices {
		problems = append(problems, fmt.Errorf("device %s (%s)", device.Attrs().Name, device.Attrs().Alias))
	}
	problems = append(problems, foreignRoutes(h))
	for socket := range f.sockets {
		if _, err := os.Stat(socket); err == nil {
			problems = append(problems, fmt.Errorf("socket %s", socket))
		}
	}
	for id := range f.bpf {
		exists, err := id.exists()
		if exists {
			err = errors.New(id.String())
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// foreignRoutes returns an error for each route that the kernel did not make.
func foreignRoutes(h *Host) error {
	routes, err := h.ns.nl.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{}, 0)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("list routes of %s: %w", h.Name, err)
	}
	var problems []error
	for _, route := range routes {
		if route.Protocol != unix.RTPROT_KERNEL {
			problems = append(problems, fmt.Errorf("route %s", route))
		}
	}
	return errors.Join(problems...)
}
