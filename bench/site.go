package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"edgenet.dev/edgenet/bench/progrun"
	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/policy"
)

// site is the real datapath of one host, filled by the library as edgenetd does
// it, with a container and a workload of rules. There is no daemon and no
// tunnel: packets are made by hand.
type site struct {
	load     *workload
	host     *netns.NsHandle
	inside   *netns.NsHandle // the container's
	beside   *netns.NsHandle // that of the workload's neighbour
	datapath *isolation.Datapath
	compiler *policy.Compiler
	state    isolation.State
	programs progrun.Programs
	// ifindex is the host's device of the container.
	ifindex uint32
	// stopSweep ends what looks after the flows, as edgenetd does: without it the
	// programs would not hold endpoints to their shares.
	stopSweep func() error
}

var (
	siteMesh   = netip.MustParsePrefix("fd12:3400::/24")
	sitePrefix = netip.MustParsePrefix("fd12:3400:0:1::/64")
	// farPrefix is the /64 of the node that has the remote hosts.
	farPrefix    = netip.MustParsePrefix("fd12:3400:0:2::/64")
	neighbourMAC = net.HardwareAddr{0x0a, 0, 0, 0, 0, 3}
	siteMAC      = net.HardwareAddr{0x0a, 0, 0, 0, 0, 2}
)

// siteMTU is that of a tunnel over an underlay of 1,500 bytes, and that of the
// container's interface.
const (
	siteTunnelMTU = 1420
	siteMTU       = siteTunnelMTU - 20
)

var (
	siteKey      = isolation.Key{VNI: workloadVNI, Name: "web"}
	neighbourKey = isolation.Key{VNI: workloadVNI, Name: "neighbour"}
)

// newSite makes a site in namespaces that nothing but this process holds.
func newSite(ctx context.Context, load *workload) (s *site, err error) {
	s = &site{load: load, compiler: &policy.Compiler{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(ctx))
		}
	}()
	made, err := newNamespaces(3)
	for i, to := range []**netns.NsHandle{&s.host, &s.inside, &s.beside} {
		if i < len(made) {
			*to = made[i]
		}
	}
	if err != nil {
		return s, err
	}
	s.programs, err = progrun.Loaded(func() error {
		return s.within(func() error {
			if err := loopbackUp(); err != nil {
				return err
			}
			s.datapath, err = isolation.Open(ctx, isolation.Config{MeshPrefix: siteMesh, NodePrefix: sitePrefix})
			return err
		})
	})
	if err != nil {
		return s, err
	}
	compiled, err := s.compiler.Compile(load.policy())
	if err != nil {
		return s, err
	}
	s.fill(compiled)
	if err := s.within(func() error { return s.datapath.Apply(ctx, s.state) }); err != nil {
		return s, err
	}
	s.sweep(ctx)
	return s, s.within(s.findDevice)
}

// sweep looks after the flows until the site is closed.
func (s *site) sweep(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- s.within(func() error { return s.datapath.Sweep(ctx) })
	}()
	s.stopSweep = func() error {
		cancel()
		return <-ended
	}
}

// path is where a namespace of this process is found by others of its threads.
func path(namespace *netns.NsHandle) string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(*namespace))
}

func (s *site) within(do func() error) error { return within(path(s.host), do) }

// fill makes the state that the datapath shall have.
func (s *site) fill(compiled *policy.Compiled) {
	vpc := &isolation.VPC{
		Endpoints: map[string]isolation.Endpoint{siteKey.Name: s.endpoint(compiled, siteKey, s.load.own, s.load.carried)},
		Addresses: make(map[netip.Addr]isolation.Location, len(compiled.Identities)),
		Policies:  compiled.Tables,
	}
	for address, identity := range compiled.Identities {
		vpc.Addresses[address] = isolation.Location{Node: farPrefix, Identity: identity}
		if address == s.load.own {
			vpc.Addresses[address] = isolation.Location{Endpoint: siteKey, Identity: identity}
		}
	}
	if next := s.load.neighbour; next.IsValid() {
		e := s.endpoint(compiled, neighbourKey, next, []string{s.load.members[next]})
		e.MAC, e.Netns = neighbourMAC, path(s.beside)
		vpc.Endpoints[neighbourKey.Name] = e
		vpc.Addresses[next] = isolation.Location{Endpoint: neighbourKey, Identity: compiled.Identities[next]}
	}
	s.state = isolation.State{
		Prefix: sitePrefix,
		// Any device will do: nothing is sent.
		Nodes: map[netip.Prefix]isolation.Node{farPrefix: {Prefix: farPrefix, Device: "lo", MTU: siteTunnelMTU}},
		VPCs:  map[uint32]*isolation.VPC{s.load.vni: vpc},
	}
}

// endpoint is the site's own.
func (s *site) endpoint(compiled *policy.Compiled, key isolation.Key, address netip.Addr, groups []string) isolation.Endpoint {
	return isolation.Endpoint{
		Key: key, Kind: isolation.KindNetns, Addresses: []netip.Addr{address},
		Networks: []isolation.Network{{Prefix: workloadPrefix, Gateway: workloadPrefix.Addr().Next()}},
		MAC:      siteMAC, Netns: path(s.inside), Ifname: "eth0", MTU: siteMTU,
		Ingress: compiled.Policy(groups, policy.Ingress),
		Egress:  compiled.Policy(groups, policy.Egress),
	}
}

// findDevice finds the host's device of the container.
func (s *site) findDevice() error {
	status, ok, err := s.datapath.EndpointStatus(siteKey)
	if err != nil || !ok {
		return errors.Join(errors.New("the site's container is not attached"), err)
	}
	device, err := net.InterfaceByName(status.Device)
	if err != nil {
		return fmt.Errorf("find %s: %w", status.Device, err)
	}
	s.ifindex = uint32(device.Index)
	return nil
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("bring up loopback: %w", err)
	}
	return nil
}

// close removes all of it, though ctx may have ended.
func (s *site) close(ctx context.Context) error {
	errs := []error{s.programs.Close()}
	if s.stopSweep != nil {
		errs = append(errs, s.stopSweep())
	}
	if s.datapath != nil {
		errs = append(errs,
			s.within(func() error { return s.datapath.Remove(context.WithoutCancel(ctx)) }),
			s.datapath.Close())
	}
	for _, namespace := range []*netns.NsHandle{s.host, s.inside, s.beside} {
		if namespace != nil {
			errs = append(errs, namespace.Close())
		}
	}
	return errors.Join(errs...)
}
