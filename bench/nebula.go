package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/test/netns/lab"
)

// nebula compares edgenet with Nebula, from container to container.
var nebula = benchmark{
	rows: []string{
		"overlay/tcp-vs-nebula", "nebula/tcp",
		"overlay/packets-vs-nebula", "overlay/packets", "nebula/packets",
		"overlay/rtt-vs-nebula", "nebula/rtt",
	},
	run: measureNebula,
}

// leastOfNebula is the target for one TCP stream.
const leastOfNebula = 3

func measureNebula(w *world) ([]result, error) {
	all, err := w.ways()
	if err != nil {
		return nil, err
	}
	other, err := newNebula(w)
	if err != nil {
		return nil, fmt.Errorf("make Nebula's network: %w", err)
	}
	if err := other.await(w.ctx); err != nil {
		return nil, err
	}
	compared := []way{all.overlay, other}
	carried, err := streams(w.effort.rounds*turns, [2]int{anyProcessor, anyProcessor}, compared...)
	if err != nil {
		return nil, err
	}
	passed, err := interleave(w.effort.rounds, len(compared), func(i int) (float64, error) { return compared[i].packets() })
	if err != nil {
		return nil, err
	}
	took, err := interleave(w.effort.rounds, len(compared), func(i int) (float64, error) { return compared[i].roundTrip(w.ctx) })
	if err != nil {
		return nil, err
	}
	return []result{
		medianOf("overlay/tcp-vs-nebula", "ratio", pairwise(carried[0], carried[1], quotient)).atLeast(leastOfNebula),
		medianOf("nebula/tcp", "Mbit/s", carried[1]),
		medianOf("overlay/packets-vs-nebula", "ratio", pairwise(passed[0], passed[1], quotient)),
		medianOf("overlay/packets", "1/s", passed[0]),
		medianOf("nebula/packets", "1/s", passed[1]),
		medianOf("overlay/rtt-vs-nebula", "ratio", pairwise(took[0], took[1], quotient)),
		medianOf("nebula/rtt", "us", took[1]),
	}, nil
}

const (
	nebulaPort = 4242
	// nebulaOverhead is Nebula's header and tag, UDP and IPv4, in bytes: with the
	// most that fits, a packet carries as much as may be. Its default MTU is 1300.
	nebulaOverhead = 16 + 16 + 8 + 20
)

// nebulaEnd is one host of Nebula's network, with a container behind it.
type nebulaEnd struct {
	host *lab.Host
	addr netip.Addr
	// gateway and own are the host's and the container's address on their subnet.
	gateway, own netip.Prefix
}

// newNebula makes two hosts that run Nebula, with all settings at their defaults
// but for the MTU, and a container on each, behind a veth pair, that is routed.
func newNebula(w *world) (way, error) {
	ends := [2]nebulaEnd{}
	for i := range ends {
		ends[i] = nebulaEnd{
			host:    w.lab.Host(fmt.Sprintf("nebula-%d", i+1)),
			addr:    netip.AddrFrom4([4]byte{10, 250, 0, byte(i + 1)}),
			gateway: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 3, byte(i + 1), 1}), 24),
			own:     netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 3, byte(i + 1), 2}), 24),
		}
	}
	dir := filepath.Dir(ends[0].host.RunDir())
	if _, err := output(w.ctx, ends[0].host.Namespace(), lab.Program("tools/nebula-cert"), "ca", "-name", "bench",
		"-out-crt", filepath.Join(dir, "ca.crt"), "-out-key", filepath.Join(dir, "ca.key")); err != nil {
		return way{}, fmt.Errorf("make certificates: %w (scripts/tools.sh bench builds it)", err)
	}
	var containers [2]*lab.Container
	for i, end := range ends {
		if err := end.start(w, dir, ends[1-i]); err != nil {
			return way{}, err
		}
		containers[i] = end.host.Container("plain")
		if err := end.route(w, containers[i]); err != nil {
			return way{}, err
		}
	}
	return between("nebula", containers[0], containers[1], ends[1].own.Addr()), nil
}

// mtu is the most that fits into the underlay's packets.
func (e nebulaEnd) mtu() (int, error) {
	underlay := 0
	err := within(e.host.Namespace(), func() (err error) {
		underlay, err = tunnel.UnderlayMTU(e.host.Underlay)
		return err
	})
	return underlay - nebulaOverhead, err
}

// start runs Nebula until the lab is taken down.
func (e nebulaEnd) start(w *world, dir string, other nebulaEnd) error {
	file := func(ending string) string { return filepath.Join(dir, e.host.Name+ending) }
	_, err := output(w.ctx, e.host.Namespace(), lab.Program("tools/nebula-cert"), "sign", "-name", e.host.Name,
		"-ca-crt", filepath.Join(dir, "ca.crt"), "-ca-key", filepath.Join(dir, "ca.key"),
		"-networks", netip.PrefixFrom(e.addr, 16).String(), "-unsafe-networks", e.gateway.Masked().String(),
		"-out-crt", file(".crt"), "-out-key", file(".key"))
	if err != nil {
		return err
	}
	mtu, err := e.mtu()
	if err != nil {
		return err
	}
	config := fmt.Sprintf(nebulaConfig, filepath.Join(dir, "ca.crt"), file(".crt"), file(".key"),
		other.addr, netip.AddrPortFrom(other.host.Underlay, nebulaPort), e.host.Underlay, nebulaPort, mtu,
		other.gateway.Masked(), other.addr)
	if err := os.WriteFile(file(".yml"), []byte(config), 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	log, err := os.Create(file(".log"))
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(lab.Program("tools/nebula"), "-config", file(".yml"))
	cmd.Stdout, cmd.Stderr = log, log
	if err := within(e.host.Namespace(), cmd.Start); err != nil {
		return fmt.Errorf("start Nebula: %w", err)
	}
	w.t.Cleanup(func() {
		if err := end(cmd); err != nil {
			w.t.Errorf("end Nebula on %s: %v", e.host, err)
		}
	})
	return nil
}

// nebulaConfig knows where the other host is, lets all traffic pass, and leads to
// the other's container.
const nebulaConfig = `pki: {ca: %s, cert: %s, key: %s}
static_host_map: {"%s": ["%s"]}
listen: {host: "%s", port: %d}
tun:
  dev: nebula1
  mtu: %d
  unsafe_routes: [{route: %s, via: %s}]
firewall:
  outbound: [{port: any, proto: any, host: any, local_cidr: any}]
  inbound: [{port: any, proto: any, host: any, local_cidr: any}]
`

// endTime bounds the end of a program that was asked to.
const endTime = 5 * time.Second

// end asks a program to end, and makes it.
func end(cmd *exec.Cmd) error {
	err := cmd.Process.Signal(unix.SIGTERM)
	late := time.AfterFunc(endTime, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	_ = cmd.Wait() // how it ended is its own affair
	return err
}

// route connects a container, and has the host forward.
func (e nebulaEnd) route(w *world, c *lab.Container) error {
	mtu, err := e.mtu()
	if err != nil {
		return err
	}
	if err := connect(w, c, "plain", mtu); err != nil {
		return err
	}
	err = within(e.host.Namespace(), func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
	})
	if err != nil {
		return fmt.Errorf("turn on forwarding: %w", err)
	}
	if err := ipCommands(w.ctx, e.host.Namespace(), fmt.Sprintf("address add %s dev plain", e.gateway)); err != nil {
		return err
	}
	return ipCommands(w.ctx, c.Netns(),
		fmt.Sprintf("address add %s dev eth0", e.own),
		fmt.Sprintf("route add default via %s dev eth0", e.gateway.Addr()))
}
