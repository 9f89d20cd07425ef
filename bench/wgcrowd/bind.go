package wgcrowd

import (
	"fmt"
	"net"
	"net/netip"

	"golang.zx2c4.com/wireguard/conn"
)

// bind is one UDP socket that sends and receives one datagram at a time: a
// thousand of WireGuard's own would hold 16 MiB of buffers each.
type bind struct {
	at     netip.AddrPort
	socket *net.UDPConn
}

var _ conn.Bind = (*bind)(nil)

// Open listens at the peer's own port, whichever is asked for.
func (b *bind) Open(uint16) ([]conn.ReceiveFunc, uint16, error) {
	if b.socket != nil {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(b.at))
	if err != nil {
		return nil, 0, fmt.Errorf("listen: %w", err)
	}
	b.socket = socket
	receive := func(packets [][]byte, sizes []int, from []conn.Endpoint) (int, error) {
		n, sender, err := socket.ReadFromUDPAddrPort(packets[0])
		if err != nil {
			return 0, err
		}
		sizes[0], from[0] = n, endpoint{sender}
		return 1, nil
	}
	return []conn.ReceiveFunc{receive}, b.at.Port(), nil
}

func (b *bind) Close() error {
	if b.socket == nil {
		return nil
	}
	err := b.socket.Close()
	b.socket = nil
	return err
}

func (b *bind) Send(packets [][]byte, to conn.Endpoint) error {
	e, ok := to.(endpoint)
	socket := b.socket
	if !ok || socket == nil {
		return net.ErrClosed
	}
	for _, packet := range packets {
		if _, err := socket.WriteToUDPAddrPort(packet, e.AddrPort); err != nil {
			return err
		}
	}
	return nil
}

func (b *bind) ParseEndpoint(text string) (conn.Endpoint, error) {
	at, err := netip.ParseAddrPort(text)
	return endpoint{at}, err
}

func (b *bind) SetMark(uint32) error { return nil }

func (b *bind) BatchSize() int { return 1 }

// endpoint is where the device is.
type endpoint struct{ netip.AddrPort }

func (e endpoint) ClearSrc()           {}
func (e endpoint) SrcToString() string { return "" }
func (e endpoint) DstToString() string { return e.String() }
func (e endpoint) DstIP() netip.Addr   { return e.Addr() }
func (e endpoint) SrcIP() netip.Addr   { return netip.Addr{} }

// DstToBytes is what cookies are bound to.
func (e endpoint) DstToBytes() []byte {
	text, _ := e.MarshalBinary() // which never fails
	return text
}
