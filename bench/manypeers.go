package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"edgenet.dev/edgenet/bench/wgcrowd"
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard"
	"edgenet.dev/edgenet/test/netns/lab"
)

// manyPeers measures a device with a thousand peers: how long they take to be put,
// and what the process holds then, and after each of them has had traffic.
var manyPeers = benchmark{
	rows: []string{
		"peers/wireguard-userspace-1000", "peers/wireguard-userspace-memory", "peers/wireguard-userspace-memory-idle",
	},
	run: measureManyPeers,
}

const (
	peerCount = 1000
	// mostPut is the target for putting them, in milliseconds, mostMemory the one for
	// what the process holds, in MiB.
	mostPut    = 1000
	mostMemory = 60
	// peerRounds are devices made anew, each with other keys.
	peerRounds = 3
	// calm is how long after the last change the memory is looked at.
	calm = 8 * time.Second
	// asked is what each peer sends for traffic: requests of a size in bytes, a few of
	// them on the way at once. The device's own host answers all of them.
	asked, askedSize, askedAtOnce = 32, 1400, 8
	// talkers is how many peers talk at once.
	talkers = 32
)

func measureManyPeers(w *world) ([]result, error) {
	device, crowd := w.lab.Host("many"), w.lab.Host("crowd")
	// The routes count as the kernel's own, for the lab.
	err := ipCommands(w.ctx, crowd.Namespace(), fmt.Sprintf("route add local %s dev lo proto kernel", crowdAddrs))
	if err == nil {
		err = ipCommands(w.ctx, device.Namespace(), fmt.Sprintf("route add %s via %s proto kernel", crowdAddrs, crowd.Underlay))
	}
	if err != nil {
		return nil, err
	}
	var put, idle, used []float64
	for round := range peerRounds {
		m := &many{w: w, host: device, crowd: crowd, round: round}
		err := m.measure()
		if err = errors.Join(err, m.close()); err != nil {
			return nil, err
		}
		put, idle, used = append(put, m.put), append(idle, m.idle), append(used, m.used)
	}
	return []result{
		medianOf("peers/wireguard-userspace-1000", "ms", put).atMost(mostPut),
		medianOf("peers/wireguard-userspace-memory", "MiB", used).atMost(mostMemory),
		medianOf("peers/wireguard-userspace-memory-idle", "MiB", idle),
	}, nil
}

// many is a device with its peers.
type many struct {
	w           *world
	host, crowd *lab.Host
	round       int
	driver      tunnel.Driver
	peers       []*wgcrowd.Peer
	// put is in milliseconds, idle and used in MiB.
	put, idle, used float64
}

// manyPort is where all of them listen.
const manyPort = 51820

// crowdAddrs are the other ends' underlay addresses. Each has one of its own: of one
// address WireGuard takes 20 handshakes a second, when it is busy.
var crowdAddrs = netip.MustParsePrefix("198.19.0.0/16")

func (m *many) measure() error {
	key, err := wireguard.GenerateKey()
	if err != nil {
		return err
	}
	m.driver, err = wireguard.New(wireguard.Config{
		Logger: slog.New(slog.DiscardHandler), Key: key, Kind: wireguard.KindUserspace,
		RunDir: m.host.RunDir(), Executable: lab.Program("edgenetd"),
	})
	if err != nil {
		return err
	}
	want := tunnel.Device{
		// Unique on the machine: sockets are named after it.
		Name: fmt.Sprintf("enm%x%d", os.Getpid(), m.round), ListenPort: manyPort, MTU: tunnel.MTU(1500, m.host.Underlay),
		Address: barePrefixes[0].Addr().Next(), Mesh: bareMesh,
	}
	target := wgcrowd.Target{
		PublicKey: key.Public(), Endpoint: netip.AddrPortFrom(m.host.Underlay, manyPort), Addr: want.Address,
	}
	if err := m.gather(target); err != nil {
		return fmt.Errorf("make the other ends of peers: %w", err)
	}
	if err := within(m.host.Namespace(), func() error { return m.configure(want) }); err != nil {
		return fmt.Errorf("put peers: %w", err)
	}
	if m.idle, err = m.memory(); err != nil {
		return err
	}
	if err := within(m.crowd.Namespace(), m.wake); err != nil {
		return err
	}
	if err := m.talk(target.Addr); err != nil {
		return fmt.Errorf("talk with all peers: %w", err)
	}
	m.used, err = m.memory()
	return err
}

// gather makes the other ends. They are silent until wake: elsewhere their answers
// would not take this machine's time.
func (m *many) gather(to wgcrowd.Target) error {
	for i := range peerCount {
		base := barePrefixes[0].Addr().As16()
		base[6], base[7] = byte((i+2)>>8), byte(i+2)
		addr := crowdAddrs.Addr().As4()
		addr[2], addr[3] = byte(i>>8), byte(i)
		at := netip.AddrPortFrom(netip.AddrFrom4(addr), manyPort)
		p, err := wgcrowd.New(at, netip.PrefixFrom(netip.AddrFrom16(base), 64), to)
		if err != nil {
			return err
		}
		m.peers = append(m.peers, p)
	}
	return nil
}

func (m *many) wake() error {
	for _, p := range m.peers {
		if err := p.Up(); err != nil {
			return err
		}
	}
	return nil
}

// configure does what a round of edgenetd does when it learns of all of them at
// once.
func (m *many) configure(want tunnel.Device) error {
	ctx := m.w.ctx
	if _, err := m.driver.Up(ctx, want); err != nil {
		return err
	}
	began := time.Now()
	if _, err := m.driver.Peers(ctx); err != nil {
		return err
	}
	var peers []tunnel.Peer
	for _, p := range m.peers {
		peers = append(peers, tunnel.Peer{PublicKey: p.PublicKey, Prefix: p.Prefix, Endpoint: p.Endpoint, Keepalive: 25 * time.Second})
	}
	if all, ok := m.driver.(tunnel.Batcher); ok {
		if err := all.PutAll(ctx, peers); err != nil {
			return err
		}
	}
	for _, p := range peers {
		if err := m.driver.Put(ctx, p); err != nil {
			return err
		}
	}
	m.put = milliseconds(time.Since(began))
	have, err := m.driver.Peers(ctx)
	if err == nil && len(have) != peerCount {
		err = fmt.Errorf("the device has %d peers", len(have))
	}
	return err
}

// talk has every peer make a session and send through it.
func (m *many) talk(to netip.Addr) error {
	var group errgroup.Group
	group.SetLimit(talkers)
	for _, p := range m.peers {
		group.Go(func() error { return p.Ask(to, askedSize, asked, askedAtOnce) })
	}
	return group.Wait()
}

// memory is what the device's process holds once it has calmed down, in MiB.
func (m *many) memory() (float64, error) {
	select {
	case <-time.After(calm):
	case <-m.w.ctx.Done():
		return 0, m.w.ctx.Err()
	}
	pids := m.host.TunnelPIDs()
	if len(pids) != 1 {
		return 0, fmt.Errorf("read memory: the device has processes %v", pids)
	}
	return residentMemory(pids[0])
}

// residentMemory is the resident set of a process (proc(5), VmRSS) in MiB.
func residentMemory(pid int) (float64, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, fmt.Errorf("read memory: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "VmRSS:" {
			kilobytes, err := strconv.ParseFloat(fields[1], 64)
			return kilobytes / 1024, err
		}
	}
	return 0, fmt.Errorf("read memory: process %d has no VmRSS", pid)
}

func (m *many) close() error {
	for _, p := range m.peers {
		p.Close()
	}
	if m.driver == nil {
		return nil
	}
	return m.w.takeDown(m.host, m.driver)
}
