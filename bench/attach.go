package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/test/netns/lab"
)

// attachLimit is the promise in milliseconds for the 99th percentile.
const attachLimit = 10

// attachTime measures the control call that attaches a container, as a Go client
// on the socket sees it: when it returns the kernel is as asked. The namespaces
// are there before.
func attachTime(t lab.TB, run options) []result {
	t.Helper()
	l := lab.New(t)
	hosts := l.Mesh("edge-1", "edge-2")
	hosts[0].VPC("blue", "10.0.0.0/16")
	hosts[0].Group("blue", "all", "ingress any - from any")
	api, done := hosts[0].KeptAPI()
	defer done()

	requests := make([]*edgenetv1.AttachEndpointRequest, run.attaches)
	ip := netip.MustParseAddr("10.0.1.0")
	for i := range requests {
		ip = ip.Next()
		container := hosts[0].Container(fmt.Sprintf("c%d", i))
		requests[i] = &edgenetv1.AttachEndpointRequest{
			Name: container.Name, Vpc: "blue", Ip: ip.String(), Groups: []string{"all"},
			Target: &edgenetv1.AttachEndpointRequest_Netns{Netns: &edgenetv1.NetnsTarget{Path: container.Netns()}},
		}
	}
	var samples []float64
	for _, request := range requests {
		began := time.Now()
		if _, err := api.Endpoints.AttachEndpoint(context.Background(), request); err != nil {
			t.Fatalf("attach %s: %v", request.GetName(), err)
		}
		samples = append(samples, float64(time.Since(began))/float64(time.Millisecond))
	}
	return []result{
		reported("attach/p50", percentile(samples, 50), "ms", samples),
		atMost(attachLimit, "attach/p99", percentile(samples, 99), "ms", samples),
	}
}
