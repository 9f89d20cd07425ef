package lab

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

// dropped names a counter of dropped packets; endpoint is empty for those that
// belong to none.
type dropped struct{ host, endpoint, reason string }

// drops are counters of all hosts of a lab.
type drops map[dropped]uint64

// countTime bounds how long is waited for what a host has dropped: one that is down
// or frozen must not stop a test.
var countTime = 2 * time.Second * slowness

// countDrops has all hosts asked for what they have dropped, without waiting for
// their answers. Hosts that do not answer are left out.
func (l *Lab) countDrops() <-chan drops {
	counted := make(chan drops, 1)
	hosts := slices.Clone(l.hosts)
	go func() {
		all, answers := drops{}, make(chan drops, len(hosts))
		for _, h := range hosts {
			go func() { answers <- h.dropped() }()
		}
		for range hosts {
			maps.Copy(all, <-answers)
		}
		counted <- all
	}()
	return counted
}

// dropped asks a host for what it has dropped, as far as it says.
func (h *Host) dropped() drops {
	ctx, cancel := context.WithTimeout(context.Background(), countTime)
	defer cancel()
	api, all := h.API(), drops{}
	status, err := api.Mesh.GetStatus(ctx, &edgenetv1.GetStatusRequest{})
	if err != nil {
		return all
	}
	for reason, n := range status.GetDrops() {
		all[dropped{h.Name, "", reason}] = n
	}
	endpoints, err := api.Endpoints.ListEndpoints(ctx, &edgenetv1.ListEndpointsRequest{})
	if err != nil {
		return all
	}
	for _, e := range endpoints.GetEndpoints() {
		for reason, n := range e.GetCounters().GetDrops() {
			all[dropped{h.Name, e.GetVpc() + "-" + e.GetName(), reason}] += n
		}
	}
	return all
}

// since says by how much each counter has grown, a line for each that has.
func (d drops) since(before drops) string {
	var text strings.Builder
	for _, key := range slices.SortedFunc(maps.Keys(d), func(a, b dropped) int {
		return cmp.Or(cmp.Compare(a.host, b.host), cmp.Compare(a.endpoint, b.endpoint), cmp.Compare(a.reason, b.reason))
	}) {
		if d[key] > before[key] {
			fmt.Fprintf(&text, "%s %s %s: %d\n", key.host, cmp.Or(key.endpoint, "-"), key.reason, d[key]-before[key])
		}
	}
	return cmp.Or(text.String(), "no packets that a host would have counted\n")
}
