package isolation

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
)

// format is the version of the maps' layout, FORMAT in bpf/types.h.
const format = 5

// cellsPerVerdict says how many cells there are: regions are half empty.
const cellsPerVerdict = 2

// policiesPerEndpoint says how many policies there is room for: two in force, and
// two candidates.
const policiesPerEndpoint = 4

// verdictsPerLine says how many lines of port intervals there is room for: rows of
// equal intervals share theirs.
const verdictsPerLine = 2

// recentPerEndpoint is RECENT in bpf/types.h.
const recentPerEndpoint = 32

// load puts the programs into the kernel, over the maps of the datapath that
// runs here if one does. Programs that run already and are the same are kept.
func (d *Datapath) load() error {
	// Kernels since 5.11 charge cgroups instead; a container may not raise it.
	if err := rlimit.RemoveMemlock(); err != nil {
		d.log.Debug("rlimit not raised", "err", err)
	}
	running, err := d.findRunning()
	if err != nil {
		return err
	}
	defer running.close()
	for _, ifindex := range running.devices {
		d.attached[ifindex] = true
	}
	objs, err := d.loadObjects(running.maps)
	if err != nil {
		return err
	}
	d.maps = &objs.edgenetMaps
	d.fromEndpoint, d.fromTunnel = objs.FromEndpoint, objs.FromTunnel
	if err := d.keep(running, &d.fromEndpoint); err != nil {
		return err
	}
	return d.keep(running, &d.fromTunnel)
}

// spec is the collection with this node's settings in it.
func (d *Datapath) spec(adopted map[string]*ebpf.Map) (*ebpf.CollectionSpec, error) {
	spec, err := loadEdgenet()
	if err != nil {
		return nil, fmt.Errorf("read datapath: %w", err)
	}
	for name, size := range map[string]int{
		edgenetMapEndpoints:     d.cfg.MaxEndpoints,
		edgenetMapAccounts:      d.cfg.MaxEndpoints + 1,
		edgenetMapDrops:         d.cfg.MaxEndpoints + 1,
		edgenetMapBudgets:       d.cfg.MaxEndpoints + 1,
		edgenetMapLearned:       d.cfg.MaxEndpoints + 1,
		edgenetMapAnnouncements: d.cfg.MaxEndpoints + 1,
		edgenetMapAddresses:     d.cfg.MaxAddresses,
		edgenetMapRoutes:        d.cfg.MaxAddresses,
		edgenetMapTokens:        d.cfg.MaxAddresses,
		edgenetMapFlows:         d.cfg.MaxFlows,
		edgenetMapPolicies:      d.cfg.MaxEndpoints * policiesPerEndpoint,
		edgenetMapVerdicts:      d.cfg.MaxVerdicts * cellsPerVerdict,
		edgenetMapIntervals:     d.cfg.MaxVerdicts / verdictsPerLine,
		edgenetMapRecent:        (d.cfg.MaxEndpoints + 1) * recentPerEndpoint,
	} {
		spec.Maps[name].MaxEntries = uint32(size)
	}
	for name, m := range adopted {
		spec.Maps[name].MaxEntries = m.MaxEntries()
	}
	if err := spec.Variables[edgenetVarNodePrefix].Set(prefixWord(d.cfg.NodePrefix)); err != nil {
		return nil, fmt.Errorf("set node prefix: %w", err)
	}
	if err := spec.Variables[edgenetVarSeesStates].Set(seesStates()); err != nil {
		return nil, fmt.Errorf("set sight of states: %w", err)
	}
	return spec, nil
}

// keep exchanges a program that was just loaded for the one that runs, if they
// are the same in instructions, settings and maps.
func (d *Datapath) keep(running *running, loaded **ebpf.Program) error {
	fresh, err := identify(*loaded)
	if err != nil {
		return err
	}
	old, ok := running.programs[fresh.name]
	if !ok {
		return nil
	}
	known, err := identify(old)
	if err != nil {
		return err
	}
	if !fresh.same(known) {
		d.log.Info("datapath program replaced", "program", fresh.name)
		return nil
	}
	clone, err := old.Clone()
	if err != nil {
		return fmt.Errorf("adopt program: %w", err)
	}
	err = (*loaded).Close()
	*loaded = clone
	return err
}

// identity is what makes two loaded programs the same.
type identity struct {
	name, tag string
	rodata    string
	maps      map[ebpf.MapID]bool
}

func (i identity) same(o identity) bool {
	if i.name != o.name || i.tag != o.tag || i.rodata != o.rodata || len(i.maps) != len(o.maps) {
		return false
	}
	for id := range i.maps {
		if !o.maps[id] {
			return false
		}
	}
	return true
}

func identify(p *ebpf.Program) (identity, error) {
	info, err := p.Info()
	if err != nil {
		return identity{}, fmt.Errorf("read program: %w", err)
	}
	id := identity{name: info.Name, tag: info.Tag, maps: make(map[ebpf.MapID]bool)}
	ids, _ := info.MapIDs()
	for _, m := range ids {
		content, isRodata, err := readRodata(m)
		if err != nil {
			return identity{}, err
		}
		if isRodata {
			id.rodata = string(content)
		} else {
			id.maps[m] = true
		}
	}
	return id, nil
}

// readRodata returns the settings that a program was loaded with, if the map
// has them: it is the only one that is frozen.
func readRodata(id ebpf.MapID) (content []byte, isRodata bool, err error) {
	m, err := ebpf.NewMapFromID(id)
	if err != nil {
		return nil, false, fmt.Errorf("open map: %w", err)
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	info, err := m.Info()
	if err != nil {
		return nil, false, fmt.Errorf("read map: %w", err)
	}
	if !info.Frozen() {
		return nil, false, nil
	}
	content, err = m.LookupBytes(uint32(0))
	if err != nil {
		return nil, false, fmt.Errorf("read settings: %w", err)
	}
	return content, true, nil
}

// prefixWord is a /64 as programs read it from a packet.
func prefixWord(p netip.Prefix) uint64 {
	a := p.Addr().As16()
	return binary.NativeEndian.Uint64(a[:8])
}
