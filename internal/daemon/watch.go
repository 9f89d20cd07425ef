package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	api "edgenet.dev/edgenet/api/edgenet/v1"
)

// The kinds of objects that a watch can be for.
var watchKinds = []string{"node", "vpc", "group", "endpoint"}

// The types of a watch's events.
const (
	eventAdded    = "added"
	eventModified = "modified"
	eventDeleted  = "deleted"
	eventSynced   = "synced"
)

// Watch sends all there is, then every change, until ctx ends or send fails.
// Figures that change all the time (bytes, RTT, ages, counters) are not sent as
// changes.
func (d *Daemon) Watch(ctx context.Context, kinds []string, send func(*api.WatchResponse) error) error {
	for _, k := range kinds {
		if !slices.Contains(watchKinds, k) {
			return invalid("watch: kind %q: want node, vpc, group or endpoint", k)
		}
	}
	if len(kinds) == 0 {
		kinds = watchKinds
	}
	changed, cancel := d.changes.subscribe()
	defer cancel()
	var seen map[string]*api.WatchResponse
	for {
		now := d.watched(kinds)
		if err := sendChanges(seen, now, send); err != nil {
			return err
		}
		if seen == nil {
			if err := send(&api.WatchResponse{Type: eventSynced}); err != nil {
				return err
			}
		}
		seen = now
		select {
		case <-changed:
			if !pause(ctx, gather) {
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// watched has every object of the kinds under a key that stays the same while
// the object is the same. In the order of the keys each object comes after what
// it refers to.
func (d *Daemon) watched(kinds []string) map[string]*api.WatchResponse {
	out := map[string]*api.WatchResponse{}
	s := d.snapshot()
	if slices.Contains(kinds, "node") {
		for _, n := range d.ListNodes() {
			if t := n.GetTunnel(); t != nil {
				forgetFigures(t)
			}
			out["1/"+n.GetId()] = &api.WatchResponse{Object: &api.WatchResponse_Node{Node: n}}
		}
	}
	for name, v := range s.vpcs {
		if slices.Contains(kinds, "vpc") {
			out["2/"+name] = &api.WatchResponse{Object: &api.WatchResponse_Vpc{Vpc: v.api()}}
		}
		for g := range v.groups {
			if slices.Contains(kinds, "group") {
				out[fmt.Sprintf("3/%d/%s", v.vni(), g)] = &api.WatchResponse{Object: &api.WatchResponse_Group{Group: v.groups[g].api(v)}}
			}
		}
	}
	if slices.Contains(kinds, "endpoint") {
		for e := range s.endpoints() {
			out["4/"+e.key()] = &api.WatchResponse{Object: &api.WatchResponse_Endpoint{Endpoint: s.apiEndpoint(e)}}
		}
	}
	return out
}

func sendChanges(before, now map[string]*api.WatchResponse, send func(*api.WatchResponse) error) error {
	for _, key := range slices.Sorted(maps.Keys(now)) {
		old, there := before[key]
		event := &api.WatchResponse{Type: eventAdded, Object: now[key].GetObject()}
		if there {
			if proto.Equal(old, now[key]) {
				continue
			}
			event.Type = eventModified
		}
		if err := send(event); err != nil {
			return err
		}
	}
	for _, key := range slices.Backward(slices.Sorted(maps.Keys(before))) {
		if _, still := now[key]; still {
			continue
		}
		if err := send(&api.WatchResponse{Type: eventDeleted, Object: before[key].GetObject()}); err != nil {
			return err
		}
	}
	return nil
}
