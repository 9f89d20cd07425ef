package isolation

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
)

// running is the datapath that is in force in this network namespace.
type running struct {
	maps     map[string]*ebpf.Map
	programs map[string]*ebpf.Program
	// devices are the indexes of the devices that it is on.
	devices []int
}

func (r *running) close() {
	for _, m := range r.maps {
		_ = m.Close()
	}
	for _, p := range r.programs {
		_ = p.Close()
	}
}

// findRunning asks every device for the datapath's programs, and the programs
// for their maps. Finding none is no error.
func (d *Datapath) findRunning() (*running, error) {
	found := &running{maps: make(map[string]*ebpf.Map), programs: make(map[string]*ebpf.Program)}
	links, err := d.nl.LinkList()
	if err != nil {
		return found, fmt.Errorf("list devices: %w", err)
	}
	for _, link := range links {
		for _, h := range allHooks(d.nl) {
			ids, err := h.programs(link.Attrs().Index)
			if err != nil {
				found.close()
				return nil, fmt.Errorf("query %s: %w", link.Attrs().Name, err)
			}
			for _, id := range ids {
				own, err := found.add(id)
				if err != nil {
					found.close()
					return nil, fmt.Errorf("adopt datapath of %s: %w", link.Attrs().Name, err)
				}
				if own {
					found.devices = append(found.devices, link.Attrs().Index)
				}
			}
		}
	}
	return found, nil
}

// add takes a program, and its maps, and says whether it is the datapath's. One
// that has gone meanwhile is not.
func (r *running) add(id ebpf.ProgramID) (bool, error) {
	p, err := ebpf.NewProgramFromID(id)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open program: %w", err)
	}
	maps, err := ownMaps(p)
	if err != nil || maps == nil {
		return false, errors.Join(err, p.Close())
	}
	info, err := p.Info()
	if err != nil {
		return false, errors.Join(fmt.Errorf("read program: %w", err), p.Close())
	}
	if r.programs[info.Name] != nil {
		err = p.Close()
	} else {
		r.programs[info.Name] = p
	}
	for name, m := range maps {
		if r.maps[name] != nil {
			_ = m.Close()
			continue
		}
		r.maps[name] = m
	}
	return true, err
}

// ownMaps returns the maps of a program by name, nil if it is a stranger's.
func ownMaps(p *ebpf.Program) (map[string]*ebpf.Map, error) {
	info, err := p.Info()
	if err != nil {
		return nil, fmt.Errorf("read program: %w", err)
	}
	if info.Name != edgenetProgFromEndpoint && info.Name != edgenetProgFromTunnel {
		return nil, nil
	}
	ids, _ := info.MapIDs()
	maps := make(map[string]*ebpf.Map)
	for _, id := range ids {
		if err := addMap(maps, id); err != nil {
			closeMaps(maps)
			return nil, err
		}
	}
	state := maps[edgenetMapEdgenetState]
	if state == nil {
		closeMaps(maps)
		return nil, nil
	}
	if err := checkFormat(state); err != nil {
		closeMaps(maps)
		return nil, err
	}
	return maps, nil
}

func addMap(maps map[string]*ebpf.Map, id ebpf.MapID) error {
	m, err := ebpf.NewMapFromID(id)
	if err != nil {
		return fmt.Errorf("open map: %w", err)
	}
	info, err := m.Info()
	if err != nil {
		return errors.Join(fmt.Errorf("read map: %w", err), m.Close())
	}
	// Settings belong to the program that was loaded with them.
	if info.Frozen() {
		return m.Close()
	}
	maps[info.Name] = m
	return nil
}

func closeMaps(maps map[string]*ebpf.Map) {
	for _, m := range maps {
		_ = m.Close()
	}
}

// checkFormat refuses maps that this program does not understand. The format is
// the first word of the state in every format.
func checkFormat(state *ebpf.Map) error {
	value, err := state.LookupBytes(uint32(0))
	if err != nil {
		return fmt.Errorf("read format: %w", err)
	}
	if len(value) < 4 {
		return ErrFormat
	}
	// A process that died between loading and writing it has attached nothing.
	if got := binary.NativeEndian.Uint32(value); got != format {
		return fmt.Errorf("%w: %d, this program has %d; remove it with the version that made it", ErrFormat, got, format)
	}
	return nil
}
