package isolation

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/packet"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// ask asks each endpoint whose MAC is still unknown for it: a server that never
// speaks first is found by its answer. Its loss is repaired by the next round.
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
		if err := askForMAC(w, &asked); err != nil {
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

// askForMAC asks as the gateway does, by ARP or, if the endpoint has no IPv4, by
// neighbour discovery.
func askForMAC(w wired, e *Endpoint) error {
	if address := e.first4(); address.IsValid() {
		gateway := e.gateway(address)
		if !gateway.Is4() {
			return errors.New("no IPv4 gateway to ask as")
		}
		return sendFrame(w, unix.ETH_P_ARP, arpRequest(gateway, address))
	}
	address := e.first6()
	gateway := e.gateway(address)
	if !gateway.Is6() {
		return errors.New("no IPv6 gateway to ask as")
	}
	frame, err := solicitation(gateway, address)
	if err != nil {
		return err
	}
	return sendFrame(w, unix.ETH_P_IPV6, frame)
}

func sendFrame(w wired, protocol int, frame []byte) error {
	c, err := packet.Listen(&net.Interface{Index: int(w.ifindex), Name: w.name}, packet.Raw, protocol, nil)
	if err != nil {
		return fmt.Errorf("open packet socket: %w", err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.WriteTo(frame, &packet.Addr{HardwareAddr: net.HardwareAddr(frame[:6])}); err != nil {
		return fmt.Errorf("send frame: %w", err)
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

// solicitation is a neighbour solicitation from the gateway to those who may have
// the address (RFC 4861).
func solicitation(gateway, address netip.Addr) ([]byte, error) {
	source, target := gateway.As16(), address.As16()
	group := netip.MustParseAddr("ff02::1:ff00:0").As16()
	copy(group[13:], target[13:])
	body := append(append(make([]byte, 4), target[:]...), 1, 1) // and the option with its own MAC
	body = append(body, gatewayMAC...)
	m := icmp.Message{Type: ipv6.ICMPTypeNeighborSolicitation, Body: &icmp.RawBody{Data: body}}
	message, err := m.Marshal(icmp.IPv6PseudoHeader(source[:], group[:]))
	if err != nil {
		return nil, fmt.Errorf("write neighbour solicitation: %w", err)
	}
	frame := append([]byte{0x33, 0x33}, group[12:]...)
	frame = append(append(frame, gatewayMAC...), 0x86, 0xdd)
	frame = append(frame, 0x60, 0, 0, 0, 0, byte(len(message)), 58, 255)
	frame = append(append(frame, source[:]...), group[:]...)
	return append(frame, message...), nil
}
