package isolation

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// ask sends an ARP request to each endpoint whose MAC is still unknown: a server
// that never speaks first is found by its answer. Its loss is repaired by the
// next round.
func (d *Datapath) ask(want *State, wires map[Key]wired) {
	for ifindex, e := range d.tables.endpoints.have {
		key := keyOf(&e)
		w, ok := wires[key]
		if !ok || w.mac != nil || e.Flags != 0 || w.ifindex != ifindex {
			continue
		}
		if mac, err := d.learnedMAC(e.Slot); err != nil || mac != 0 {
			continue
		}
		asked, _ := want.Endpoint(key)
		if err := sendARP(w, asked.gateway(asked.first4()), asked.first4()); err != nil {
			d.log.Debug("endpoint not asked for its MAC", "vni", key.VNI, "endpoint", key.Name, "err", err)
		}
	}
}

// learnedMAC is what an endpoint was heard to use, in the low 48 bits.
func (d *Datapath) learnedMAC(slot uint32) (uint64, error) {
	var mac uint64
	if err := d.maps.Learned.Lookup(slot, &mac); err != nil {
		return 0, fmt.Errorf("read learned address: %w", err)
	}
	return mac, nil
}

func sendARP(w wired, gateway, address netip.Addr) error {
	if !gateway.Is4() {
		return fmt.Errorf("gateway %v is not IPv4", gateway)
	}
	c, err := packet.Listen(&net.Interface{Index: int(w.ifindex), Name: w.name}, packet.Raw, unix.ETH_P_ARP, nil)
	if err != nil {
		return fmt.Errorf("open packet socket: %w", err)
	}
	defer func() { _ = c.Close() }()
	broadcast := net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	if _, err := c.WriteTo(arpRequest(gateway, address), &packet.Addr{HardwareAddr: broadcast}); err != nil {
		return fmt.Errorf("send ARP request: %w", err)
	}
	return nil
}

// arpRequest is a broadcast frame from the gateway (RFC 826).
func arpRequest(gateway, address netip.Addr) []byte {
	sender, target := gateway.As4(), address.As4()
	frame := make([]byte, 0, 42)
	frame = append(frame, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	frame = append(frame, gatewayMAC...)
	frame = append(frame, 0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 1)
	frame = append(frame, gatewayMAC...)
	frame = append(frame, sender[:]...)
	frame = append(frame, 0, 0, 0, 0, 0, 0)
	return append(frame, target[:]...)
}
