package daemontest

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard"
)

// LacksWireGuard takes WireGuard from the host.
func (k *Kernel) LacksWireGuard() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.bare = true
}

// InstallIPsec gives the host IPsec.
func (k *Kernel) InstallIPsec() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ipsec = true
}

// LoadModules has the host do in the kernel, too, what it can do in userspace.
func (k *Kernel) LoadModules() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.modules = true
}

// Answer has probes by a single device be answered, as datapaths do; without it nodes
// are never moved.
func (k *Kernel) Answer() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.proves = true
}

// Has tells whether the device of a technology is up.
func (k *Kernel) Has(t tunnel.Technology) bool { return k.Driver(t) != "" }

// Driver names what has made the device of a technology that is up; empty if none is.
func (k *Kernel) Driver(t tunnel.Technology) string {
	driver, _ := k.found(context.Background(), t, "", "")
	return driver
}

func (k *Kernel) probe(driver string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	has := k.ipsec
	if slices.Contains(tunnel.DriversOf(tunnel.WireGuard), driver) {
		has = !k.bare
	}
	if strings.HasSuffix(driver, "-kernel") {
		has = has && k.modules
	}
	if !has {
		return tunnel.ErrUnsupported
	}
	return nil
}

func (k *Kernel) found(_ context.Context, t tunnel.Technology, _, _ string) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if d := k.devices[t]; d == nil || !d.IsUp() {
		return "", nil
	}
	return k.made[t], nil
}

// driverOf is what makes a device of WireGuard's.
func (k *Kernel) driverOf(kind wireguard.Kind) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if kind == wireguard.KindKernel || kind == wireguard.KindAuto && k.modules {
		return tunnel.WireGuardKernel
	}
	return tunnel.WireGuardUserspace
}

func (k *Kernel) open(t tunnel.Technology, key tunnel.PublicKey, name string) driver {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.devices == nil {
		k.devices, k.made = map[tunnel.Technology]*tunneltest.Memory{}, map[tunnel.Technology]string{}
	}
	k.devices[t] = k.Network.Driver(key)
	return driver{k.devices[t], k, t, name}
}

func (k *Kernel) listRoutes(netip.Prefix) (map[netip.Prefix]string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.routes), nil
}

func (k *Kernel) ensureRoutes(_ netip.Prefix, want map[netip.Prefix]string) (set []netip.Prefix, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for to, device := range want {
		if k.routes[to] != device {
			set = append(set, to)
		}
	}
	k.routes = maps.Clone(want)
	return set, nil
}

// driver is a tunnel in memory that goes by a name, and replaces the device of one by
// another name.
type driver struct {
	*tunneltest.Memory
	kernel     *Kernel
	technology tunnel.Technology
	name       string
}

func (d driver) Name() string { return d.name }

func (d driver) Up(ctx context.Context, want tunnel.Device) (tunnel.Device, error) {
	k := d.kernel
	k.mu.Lock()
	defer k.mu.Unlock()
	if d.IsUp() && k.made[d.technology] != d.name {
		if err := d.Memory.Down(ctx); err != nil {
			return tunnel.Device{}, err
		}
	}
	k.made[d.technology] = d.name
	return d.Memory.Up(ctx, want)
}

func (d driver) Down(ctx context.Context) error {
	if d.technology == tunnel.WireGuard {
		d.kernel.mu.Lock()
		d.kernel.downs++
		d.kernel.mu.Unlock()
	}
	return d.Memory.Down(ctx)
}

// Send takes a packet of a tenant's to another node, by where the datapath was told to
// lead it. It returns the device, and an error if the packet does not arrive.
func (k *Kernel) Send(to netip.Prefix) (device string, err error) {
	k.mu.Lock()
	device, own := k.state.Nodes[to].Device, k.state.Prefix
	k.mu.Unlock()
	return device, k.carry(device, own.Addr().Next(), to.Addr().Next())
}

// carry takes a packet by a device, which is known by the last letter of its name.
func (k *Kernel) carry(device string, src, dst netip.Addr) error {
	t := tunnel.WireGuard
	if strings.HasSuffix(device, "i") {
		t = tunnel.IPsec
	}
	k.mu.Lock()
	by := k.devices[t]
	k.mu.Unlock()
	if device == "" || by == nil {
		return tunneltest.ErrDropped
	}
	_, err := k.Network.Send(by.Key(), src, dst, packetSize)
	return err
}

// packetSize is that of a packet, in bytes; nothing depends on it.
const packetSize = 100

func (k *Kernel) via(device string) func(netip.Addr) (net.PacketConn, error) {
	return func(source netip.Addr) (net.PacketConn, error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		if !k.proves {
			return nil, errNoPackets
		}
		return &socket{kernel: k, device: device, source: source, answers: make(chan answer, 1000), closed: make(chan struct{})}, nil
	}
}

// socket is one of a device, by which probes are answered as by a datapath.
type socket struct {
	net.PacketConn
	kernel  *Kernel
	device  string
	source  netip.Addr
	answers chan answer
	closed  chan struct{}
	once    sync.Once
}

type answer struct {
	from   net.Addr
	packet []byte
}

// cut is what datapaths answer of an echo request, in bytes, and echoReply the type
// of that (bpf/host.h).
const (
	cut       = 24
	echoReply = 129
)

func (s *socket) WriteTo(b []byte, to net.Addr) (int, error) {
	ip, ok := to.(*net.IPAddr)
	if !ok {
		return 0, errors.New("send: that is no IP address")
	}
	dst, _ := netip.AddrFromSlice(ip.IP)
	if s.kernel.carry(s.device, s.source, dst) == nil && len(b) >= cut {
		reply := slices.Clone(b[:cut])
		reply[0] = echoReply
		select {
		case s.answers <- answer{to, reply}:
		default: // as by a socket that is full
		}
	}
	return len(b), nil
}

func (s *socket) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case a := <-s.answers:
		return copy(b, a.packet), a.from, nil
	case <-s.closed:
		return 0, nil, net.ErrClosed
	}
}

func (s *socket) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}
