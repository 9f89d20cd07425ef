package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

const (
	defaultIfname = "eth0"
	// arrival bounds the wait for a VPC or group that was made on another node
	// a moment ago.
	arrival = 2 * time.Second
)

// AttachEndpoint connects something on this host to a VPC. When it returns the
// kernel is as asked, and the claim is stored and on its way to all nodes.
func (d *Daemon) AttachEndpoint(ctx context.Context, req *api.AttachEndpointRequest) (*api.Endpoint, error) {
	if err := policy.ValidateName(req.GetName()); err != nil {
		return nil, invalid("attach endpoint: %w", err)
	}
	if err := policy.ValidateName(req.GetVpc()); err != nil {
		return nil, invalid("attach endpoint %s: vpc: %w", req.GetName(), err)
	}
	record, err := parseAttach(req)
	if err != nil {
		return nil, invalid("attach endpoint %s: %w", req.GetName(), err)
	}
	if _, in := d.mesh.MeshID(); !in {
		return nil, precondition("attach endpoint %s: this node is in no mesh; run init or join first", req.GetName())
	}
	if _, evicted := d.mesh.Evicted(); evicted {
		return nil, precondition("attach endpoint %s: %w", req.GetName(), errEvicted)
	}
	if err := d.awaitGroups(ctx, req); err != nil {
		return nil, err
	}
	d.awaitGrant(ctx, req, record)
	d.tunnels.awaitReady(ctx)
	return d.network.attach(ctx, req, record)
}

func parseAttach(req *api.AttachEndpointRequest) (*records.Endpoint, error) {
	record := &records.Endpoint{}
	if err := parseAddresses(req, record); err != nil {
		return nil, err
	}
	if req.GetMac() != "" {
		mac, err := records.ParseMAC(req.GetMac())
		if err != nil {
			return nil, err
		}
		record.Mac = mac.String()
	}
	record.Groups = slices.Compact(slices.Sorted(slices.Values(req.GetGroups())))
	if err := parseTarget(req, record); err != nil {
		return nil, err
	}
	return record, record.Check()
}

// parseAddresses reads the addresses, of which the first is the primary one, and
// the prefixes.
func parseAddresses(req *api.AttachEndpointRequest, record *records.Endpoint) error {
	var addrs []string
	for _, text := range append([]string{req.GetIp()}, req.GetIps()...) {
		if text == "" && len(addrs) == 0 && len(req.GetIps()) > 0 {
			continue // The primary one is the first of ips.
		}
		addr, err := records.ParseAddress(text)
		if err != nil {
			return err
		}
		if !slices.Contains(addrs, addr.String()) {
			addrs = append(addrs, addr.String())
		}
	}
	record.Ip, record.MoreIps = addrs[0], addrs[1:]
	for _, text := range req.GetPrefixes() {
		p, err := records.ParseRouted(text)
		if err != nil {
			return err
		}
		record.Prefixes = append(record.Prefixes, p.String())
	}
	slices.Sort(record.Prefixes)
	record.Prefixes = slices.Compact(record.Prefixes)
	return nil
}

func parseTarget(req *api.AttachEndpointRequest, record *records.Endpoint) error {
	switch target := req.GetTarget().(type) {
	case *api.AttachEndpointRequest_Netns:
		record.Kind = records.KindNetns
		record.Netns = target.Netns.GetPath()
		record.Ifname = target.Netns.GetIfname()
		if record.GetIfname() == "" {
			record.Ifname = defaultIfname
		}
		if !filepath.IsAbs(record.GetNetns()) {
			return fmt.Errorf("netns %q: want an absolute path such as /run/netns/web", record.GetNetns())
		}
		if err := records.CheckInterfaceName(record.GetIfname()); err != nil {
			return fmt.Errorf("ifname: %w", err)
		}
	case *api.AttachEndpointRequest_Tap:
		record.Kind = records.KindTap
		record.Device = target.Tap.GetName()
	case *api.AttachEndpointRequest_Device:
		record.Kind = records.KindDevice
		record.Device = target.Device.GetName()
	default:
		return fmt.Errorf("no target: want one of netns, tap or device")
	}
	if record.GetKind() != records.KindNetns {
		if err := records.CheckInterfaceName(record.GetDevice()); err != nil {
			return fmt.Errorf("%s: %w", record.GetKind(), err)
		}
	}
	return nil
}

// awaitGroups waits a bounded time for the VPC and the groups to be known here:
// they may have been made on another node a moment ago.
func (d *Daemon) awaitGroups(ctx context.Context, req *api.AttachEndpointRequest) error {
	var missing error
	d.await(ctx, func() bool {
		missing = d.missing(req)
		return missing == nil
	})
	if missing != nil {
		return fmt.Errorf("attach endpoint %s: %w", req.GetName(), missing)
	}
	return nil
}

// missing says what of that which the endpoint needs is not known here.
func (d *Daemon) missing(req *api.AttachEndpointRequest) error {
	rec, ok := d.mesh.Get(mesh.KindVPC, req.GetVpc())
	if !ok {
		return notFound("vpc %q: not found", req.GetVpc())
	}
	v, err := records.DecodeVPC(rec)
	if err != nil {
		return fmt.Errorf("vpc %q: %w", req.GetVpc(), err)
	}
	for _, g := range req.GetGroups() {
		if g == records.DefaultGroup {
			continue // It is there without a record, too.
		}
		if _, ok := d.mesh.Get(mesh.KindGroup, records.GroupKey(v.GetVni(), g)); !ok {
			return notFound("group %q of vpc %s: not found", g, req.GetVpc())
		}
	}
	return nil
}

// awaitGrant waits as long for the grant that the endpoint needs, if it needs one.
func (d *Daemon) awaitGrant(ctx context.Context, req *api.AttachEndpointRequest, record *records.Endpoint) {
	d.await(ctx, func() bool {
		s := d.snapshot()
		v, ok := s.vpcs[req.GetVpc()]
		if !ok {
			return true // attach says so
		}
		e := &endpoint{node: s.self.ID, vni: v.vni(), name: req.GetName()}
		return e.use(record) != nil || v.grants.refuse(e) == nil
	})
}

// await waits until the records are as asked, at most the time that a record
// needs to arrive.
func (d *Daemon) await(ctx context.Context, done func() bool) {
	changed, cancel := d.mesh.Subscribe()
	defer cancel()
	timeout := time.NewTimer(arrival)
	defer timeout.Stop()
	for !done() {
		select {
		case <-changed:
		case <-timeout.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// attach claims the address: first the kernel is made ready, then the claim is
// stored; what fails leaves nothing behind.
func (n *network) attach(ctx context.Context, req *api.AttachEndpointRequest, record *records.Endpoint) (*api.Endpoint, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	name := req.GetName()
	// The wait for the lock may have outlasted the caller.
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("attach endpoint %s: %w", name, err)
	}
	s := n.reader.read()
	v, ok := s.vpcs[req.GetVpc()]
	if !ok {
		return nil, notFound("attach endpoint %s: vpc %q: not found", name, req.GetVpc())
	}
	e := &endpoint{node: s.self.ID, vni: v.vni(), name: name}
	if err := e.use(record); err != nil {
		return nil, invalid("attach endpoint %s: %w", name, err)
	}
	if err := v.misplaced(e); err != nil {
		return nil, invalid("attach endpoint %s: %w", name, err)
	}
	if err := v.grants.refuse(e); err != nil {
		return nil, precondition("attach endpoint %s: it %w: %s", name, err, s.askFor(e, v.name))
	}
	old := s.find(e)
	unchanged, err := e.reconsider(old)
	if err != nil {
		return nil, err
	}
	switch t := n.tunnels.current(); {
	case !t.ready() && errors.Is(t.problem, errNoWay):
		return nil, precondition("attach endpoint %s: %w", name, t.problem)
	case !t.ready():
		return nil, unavailable("attach endpoint %s: the tunnel device is not up yet: %w", name, t.why())
	}
	if unchanged {
		// The kernel may not be as the record says: a namespace of the same
		// path may be another one by now.
		if _, err := n.applyFor(ctx, e, s, everything); err != nil {
			poke(n.dirty)
			return nil, fmt.Errorf("attach endpoint %s: %w", name, err)
		}
		return n.withStatus(s.apiEndpoint(old), old)
	}
	if record.GetClaim() == 0 {
		record.Claim, record.Epoch = uint64(n.mesh.Now()), v.nextEpoch(e)
		record.AttachedMs = time.Now().UnixMilli()
	}
	look := news
	if old != nil {
		look = everything
	}
	s, e = s.with(e)
	if err := n.commit(ctx, e, s, look); err != nil {
		return nil, fmt.Errorf("attach endpoint %s: %w", name, err)
	}
	n.log.Info("endpoint attached", "endpoint", name, "vpc", v.name, "ip", record.GetIp())
	return n.withStatus(s.apiEndpoint(e), e)
}

// withStatus adds what the kernel knows of an endpoint that was just attached.
func (n *network) withStatus(a *api.Endpoint, e *endpoint) (*api.Endpoint, error) {
	status, ok, err := n.datapath.EndpointStatus(isolation.Key{VNI: e.vni, Name: e.name})
	if err != nil {
		return nil, fmt.Errorf("attach endpoint %s: %w", e.name, err)
	}
	if ok {
		addStatus(a, status)
	}
	return a, nil
}

// applyFor is a round for the sake of one endpoint: what is wrong with others is
// theirs.
func (n *network) applyFor(ctx context.Context, e *endpoint, s *snapshot, look scope) (*snapshot, error) {
	s, err := n.apply(ctx, s, look)
	switch own := n.problems[isolation.Key{VNI: e.vni, Name: e.name}]; {
	case own != nil:
		return s, precondition("%w", own)
	case n.vpcProblems[e.vni] != nil:
		return s, n.vpcProblems[e.vni]
	}
	return s, err
}

// commit applies s, which has the endpoint, and stores the endpoint, or undoes
// both.
func (n *network) commit(ctx context.Context, e *endpoint, s *snapshot, look scope) error {
	s, err := n.applyFor(ctx, e, s, look)
	if err == nil {
		err = n.put(ctx, e.key(), e.record)
	}
	if err == nil {
		// Those of this host that lost to it must know for good before it can
		// be detached.
		if err := n.report(context.WithoutCancel(ctx), s); err != nil {
			n.log.Warn("note what an attach superseded; trying again", "endpoint", e.name, "err", err)
			poke(n.dirty)
		}
		return nil
	}
	// The caller may have gone away; that must not leave half an endpoint.
	if _, undo := n.apply(context.WithoutCancel(ctx), nil, everything); undo != nil {
		n.log.Warn("undo attach; trying again", "endpoint", e.name, "err", undo)
		poke(n.dirty)
	}
	return err
}

// reconsider compares the wanted endpoint with the one that this node has
// under its name. The groups of an endpoint can be changed by attaching it
// again; that keeps the claim. Anything else has to be detached first.
func (e *endpoint) reconsider(old *endpoint) (unchanged bool, err error) {
	if old == nil || old.lost {
		return false, nil
	}
	a, ok := proto.Clone(old.record).(*records.Endpoint)
	if !ok {
		return false, nil
	}
	healthy := a.GetProblem() == ""
	a.Claim, a.Epoch, a.AttachedMs, a.Problem, a.Announced = 0, 0, 0, "", nil
	if proto.Equal(a, e.record) && healthy {
		return true, nil
	}
	a.Groups = e.record.GetGroups()
	if !proto.Equal(a, e.record) {
		return false, exists("attach endpoint %s: is attached already with ip %s to %s; detach it first to change that",
			e.name, strings.Join(append([]string{old.record.GetIp()}, old.record.GetMoreIps()...), ","), old.target())
	}
	e.record.Claim, e.record.Epoch = old.record.GetClaim(), old.record.GetEpoch()
	e.record.AttachedMs, e.record.Announced = old.record.GetAttachedMs(), old.record.GetAnnounced()
	e.announced = old.announced
	return false, nil
}

// target says in words what an endpoint is attached to.
func (e *endpoint) target() string {
	if e.record.GetKind() == records.KindNetns {
		return fmt.Sprintf("%s in namespace %s", e.record.GetIfname(), e.record.GetNetns())
	}
	return fmt.Sprintf("%s %s", e.record.GetKind(), e.record.GetDevice())
}
