package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/ipsec"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard"
)

// ipsecMetric is that of the mesh's route into the device of IPsec: it loses
// against WireGuard's, and nodes that are reached by IPsec have routes of their
// own.
const ipsecMetric = 2048

// plan is by which driver a technology is run on this host.
type plan struct {
	// drivers are the names of those that may be used, empty if none.
	drivers []string
	// retired says that none of them can be, or may be: what is found is left as
	// soon as nodes are reached otherwise.
	retired bool
}

// planFor makes the plan of a technology. allowed are the operator's, found is the
// driver that has made the device that is there, empty if there is none.
func planFor(t tunnel.Technology, allowed []string, found string, probe func(driver string) error) plan {
	var mine []string
	for _, name := range tunnel.DriversOf(t) {
		if slices.Contains(allowed, name) {
			mine = append(mine, name)
		}
	}
	if found == "" || slices.Contains(mine, found) {
		return plan{drivers: mine}
	}
	if slices.ContainsFunc(mine, func(name string) bool { return probe(name) == nil }) {
		return plan{drivers: mine} // the device is replaced by one of these
	}
	return plan{drivers: []string{found}, retired: true}
}

// openCarriers makes what this node can encrypt with, the preferred one first.
func (d *Daemon) openCarriers(kernel Kernel, log *slog.Logger) ([]*carrier, error) {
	wireGuard, err := d.openWireGuard(kernel, log)
	if err != nil {
		return nil, err
	}
	esp, err := d.openIPsec(kernel, log)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc([]*carrier{wireGuard, esp}, func(c *carrier) bool { return c == nil }), nil
}

// planned is the plan for a device of this host.
func (d *Daemon) planned(kernel Kernel, t tunnel.Technology, device string, log *slog.Logger) (plan, string) {
	found, err := kernel.Found(context.Background(), t, d.cfg.RunDir, device)
	if err != nil { // Up says it again
		log.Warn("look for a tunnel device of an earlier daemon", "device", device, "err", err)
	}
	p := planFor(t, d.allowed(), found, kernel.Probe)
	if p.retired {
		log.Warn("tunnels are moved to another driver", "from", found, "allowed", strings.Join(d.allowed(), ","))
	}
	return p, found
}

// allowed are the drivers that the operator allows, excluded the others.
func (d *Daemon) allowed() []string {
	if len(d.cfg.TunnelDrivers) == 0 {
		return tunnel.Drivers()
	}
	return d.cfg.TunnelDrivers
}

func (d *Daemon) excluded() []string {
	allowed := d.allowed()
	return slices.DeleteFunc(tunnel.Drivers(), func(name string) bool { return slices.Contains(allowed, name) })
}

// openWireGuard returns nil if WireGuard must not be used.
func (d *Daemon) openWireGuard(kernel Kernel, log *slog.Logger) (*carrier, error) {
	keys, err := wireguard.OpenKeys(d.cfg.StateDir)
	if err != nil {
		return nil, fmt.Errorf("load tunnel key: %w", err)
	}
	d.rotation = d.newRotation(keys)
	key := keys.Current()
	d.rotation.device = key.Public()
	executable, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own executable: %w", err)
	}
	c := &carrier{
		technology: tunnel.WireGuard, key: key.Public(), next: keys.NextPublic(),
		port: d.cfg.WireGuardPort, mtu: tunnel.MTU, room: tunnel.Room, name: deviceName(d.mesh.Self().ID, "w"),
	}
	p, _ := d.planned(kernel, c.technology, c.name, log)
	if len(p.drivers) == 0 {
		return nil, nil
	}
	kind := wireguard.KindAuto
	if len(p.drivers) == 1 {
		kind = wireguard.KindKernel
		if p.drivers[0] == tunnel.WireGuardUserspace {
			kind = wireguard.KindUserspace
		}
	}
	c.retired, c.probe = p.retired, p.probe(kernel)
	c.driver, err = kernel.Tunnels(wireguard.Config{
		Logger: log, Key: key, Kind: kind, RunDir: d.cfg.RunDir, Executable: executable, Device: c.name,
	})
	if err != nil {
		return nil, fmt.Errorf("make tunnel driver: %w", err)
	}
	d.rotation.adopt(context.Background(), c)
	return c, d.rotation.prove(c)
}

// openIPsec returns nil if IPsec cannot or must not be used.
func (d *Daemon) openIPsec(kernel Kernel, log *slog.Logger) (*carrier, error) {
	identity, err := ipsec.NewKey(d.mesh.PrivateKey())
	if err != nil {
		return nil, fmt.Errorf("load identity: %w", err)
	}
	c := &carrier{
		technology: tunnel.IPsec, key: identity.Public(), port: d.cfg.IPsecPort, name: deviceName(d.mesh.Self().ID, "i"),
		metric: ipsecMetric,
	}
	p, found := d.planned(kernel, c.technology, c.name, log)
	if len(p.drivers) == 0 {
		return nil, nil
	}
	// What is there is kept, else it is the first that can be, or the last.
	name := found
	if !slices.Contains(p.drivers, found) {
		name = p.drivers[len(p.drivers)-1]
		if i := slices.IndexFunc(p.drivers, func(name string) bool { return kernel.Probe(name) == nil }); i >= 0 {
			name = p.drivers[i]
		}
	}
	p.drivers = []string{name}
	kind := ipsec.KindUserspace
	if name == tunnel.IPsecKernel {
		kind = ipsec.KindKernel
	}
	c.retired, c.probe, c.mtu, c.room = p.retired, p.probe(kernel), kind.MTU, tunnel.ESPRoom
	c.driver, err = kernel.IPsec(ipsec.Config{Logger: log, Kind: kind, Key: identity, RunDir: d.cfg.RunDir, Device: c.name})
	if err != nil {
		log.Warn("this node has no IPsec", "err", err)
		return nil, nil
	}
	return c, nil
}

// probe returns what says why none of the plan's drivers can run.
func (p plan) probe(kernel Kernel) func() error {
	return func() error {
		var lacks []error
		for _, name := range p.drivers {
			err := kernel.Probe(name)
			if !errors.Is(err, tunnel.ErrUnsupported) {
				return err // it can, or that could not be found out
			}
			lacks = append(lacks, fmt.Errorf("%s: %w", name, err))
		}
		return errors.Join(lacks...)
	}
}
