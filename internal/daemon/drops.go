package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/isolation"
)

// leftOutEvery is how often a watcher of drops is told how many were left out.
const leftOutEvery = time.Second

// dropFilter says which drops are meant. What is zero does not count.
type dropFilter struct {
	vni              uint32
	endpoint, reason string
}

func (f dropFilter) matches(e *isolation.Event) bool {
	return (f.vni == 0 || f.vni == e.Endpoint.VNI) &&
		(f.endpoint == "" || f.endpoint == e.Endpoint.Name) &&
		(f.reason == "" || f.reason == e.Reason)
}

func (s *snapshot) parseDropFilter(req *api.WatchDropsRequest) (dropFilter, error) {
	f := dropFilter{endpoint: req.GetEndpoint(), reason: req.GetReason()}
	var err error
	if f.vni, err = s.parseOwner(req.GetVpc(), f.endpoint); err != nil || f.reason == "" {
		return f, err
	}
	reasons, err := isolation.DropReasons()
	if err != nil {
		return f, err
	}
	if !slices.Contains(reasons, f.reason) {
		return f, invalid("reason %q: there are %s", f.reason, strings.Join(reasons, ", "))
	}
	return f, nil
}

// WatchDrops tells of packets that this host drops, until ctx ends or send fails.
// First it says that the watch has begun.
func (d *Daemon) WatchDrops(ctx context.Context, req *api.WatchDropsRequest, send func(*api.WatchDropsResponse) error) error {
	filter, err := d.snapshot().parseDropFilter(req)
	if err != nil {
		return fmt.Errorf("watch drops: %w", err)
	}
	datapath := d.network.running()
	if datapath == nil {
		return precondition("watch drops: there is no datapath on this node yet: it is in no mesh, or has no endpoint")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch, err := datapath.Watch(ctx, isolation.EventDrop)
	if err != nil {
		return fmt.Errorf("watch drops: %w", err)
	}
	if err := send(&api.WatchDropsResponse{}); err != nil {
		return err
	}
	told := uint64(0)
	leftOut := func() uint64 {
		now := watch.LeftOut()
		defer func() { told = now }()
		return now - told
	}
	ticker := time.NewTicker(leftOutEvery)
	defer ticker.Stop()
	for {
		select {
		case event, more := <-watch.Events():
			if !more {
				return ended(ctx)
			}
			if !filter.matches(&event) {
				continue
			}
			if err := send(&api.WatchDropsResponse{Drop: d.snapshot().apiDrop(&event), LeftOut: leftOut()}); err != nil {
				return err
			}
		case <-ticker.C:
			n := leftOut()
			if n == 0 {
				continue
			}
			if err := send(&api.WatchDropsResponse{LeftOut: n}); err != nil {
				return err
			}
		}
	}
}

// ended says why there are no more events: the caller has seen enough, or the
// datapath is gone.
func ended(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	default:
	}
	return unavailable("watch drops: the datapath was closed: the node leaves the mesh, or ends")
}

func (s *snapshot) apiDrop(e *isolation.Event) *api.Drop {
	out := &api.Drop{
		Time: timestamppb.New(e.Time), Reason: e.Reason, Endpoint: e.Endpoint.Name, Length: uint32(e.Length),
	}
	if e.Endpoint != (isolation.Key{}) {
		out.Direction = e.Direction.String()
	}
	if v, ok := s.byVNI[e.Endpoint.VNI]; ok {
		out.Vpc = v.name
	}
	if !e.Source.IsValid() {
		return out
	}
	out.Source, out.Destination, out.Protocol = e.Source.String(), e.Destination.String(), formatProtocol(e.Protocol)
	if hasPorts(e.Protocol) {
		out.SourcePort, out.Port = uint32(e.SourcePort), uint32(e.DestinationPort)
	}
	return out
}
