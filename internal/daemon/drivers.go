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
	// next is the one that takes the place of what is found; empty if none does.
	next string
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
	if i := slices.IndexFunc(mine, func(name string) bool { return probe(name) == nil }); i >= 0 {
		return plan{drivers: []string{found}, next: mine[i]}
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
	if p.retired || p.next != "" {
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
	d.rotation.device = keys.Current().Public()
	p, _ := d.planned(kernel, tunnel.WireGuard, deviceName(d.mesh.Self().ID, "w"), log)
	if len(p.drivers) == 0 {
		return nil, nil
	}
	c, err := d.wireGuardBy(kernel, p, log)
	if err != nil {
		return nil, err
	}
	if p.next != "" {
		c.heir = func() (*carrier, error) { return d.wireGuardBy(kernel, plan{drivers: []string{p.next}}, log) }
	}
	d.rotation.adopt(context.Background(), c)
	return c, nil
}

// wireGuardBy makes the carrier by the drivers of a plan, with the keys of now.
func (d *Daemon) wireGuardBy(kernel Kernel, p plan, log *slog.Logger) (*carrier, error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own executable: %w", err)
	}
	key := d.rotation.keys.Current()
	c := &carrier{
		technology: tunnel.WireGuard, key: key.Public(), next: d.rotation.keys.NextPublic(),
		port: d.cfg.WireGuardPort, mtu: tunnel.MTU, room: tunnel.Room, name: deviceName(d.mesh.Self().ID, "w"),
		retired: p.retired, probe: p.probe(kernel),
	}
	kind := wireguard.KindAuto
	if len(p.drivers) == 1 {
		kind = wireguard.KindKernel
		if p.drivers[0] == tunnel.WireGuardUserspace {
			kind = wireguard.KindUserspace
		}
	}
	c.driver, err = kernel.Tunnels(wireguard.Config{
		Logger: log, Key: key, Kind: kind, RunDir: d.cfg.RunDir, Executable: executable, Device: c.name,
	})
	if err != nil {
		return nil, fmt.Errorf("make tunnel driver: %w", err)
	}
	return c, d.rotation.prove(c)
}

// openIPsec returns nil if IPsec cannot or must not be used.
func (d *Daemon) openIPsec(kernel Kernel, log *slog.Logger) (*carrier, error) {
	identity, err := ipsec.NewKey(d.mesh.PrivateKey())
	if err != nil {
		return nil, fmt.Errorf("load identity: %w", err)
	}
	p, found := d.planned(kernel, tunnel.IPsec, deviceName(d.mesh.Self().ID, "i"), log)
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
	c, err := d.ipsecBy(kernel, identity, plan{drivers: []string{name}, retired: p.retired}, log)
	if err != nil {
		log.Warn("this node has no IPsec", "err", err)
		return nil, nil
	}
	if p.next != "" {
		c.heir = func() (*carrier, error) { return d.ipsecBy(kernel, identity, plan{drivers: []string{p.next}}, log) }
	}
	return c, nil
}

// ipsecBy makes the carrier by the one driver of a plan.
func (d *Daemon) ipsecBy(kernel Kernel, identity ipsec.PrivateKey, p plan, log *slog.Logger) (*carrier, error) {
	kind := ipsec.KindUserspace
	if p.drivers[0] == tunnel.IPsecKernel {
		kind = ipsec.KindKernel
	}
	c := &carrier{
		technology: tunnel.IPsec, key: identity.Public(), port: d.cfg.IPsecPort, name: deviceName(d.mesh.Self().ID, "i"),
		metric: ipsecMetric, retired: p.retired, probe: p.probe(kernel), mtu: kind.MTU, room: tunnel.ESPRoom,
	}
	var err error
	c.driver, err = kernel.IPsec(ipsec.Config{Logger: log, Kind: kind, Key: identity, RunDir: d.cfg.RunDir, Device: c.name})
	if err != nil {
		return nil, fmt.Errorf("make tunnel driver: %w", err)
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
