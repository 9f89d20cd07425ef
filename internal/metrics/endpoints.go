package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	api "edgenet.dev/edgenet/api/edgenet/v1"
)

var (
	endpointCount           = desc("endpoints", "Endpoints on this node, by state.", "state")
	meshEndpoints           = desc("mesh_endpoints", "Endpoints of the mesh that this node knows of.")
	endpointReceivedPackets = desc("endpoint_receive_packets_total", "Packets delivered to the endpoint.", "vpc", "endpoint")
	endpointReceivedBytes   = desc("endpoint_receive_bytes_total", "Bytes delivered to the endpoint.", "vpc", "endpoint")
	endpointSentPackets     = desc("endpoint_transmit_packets_total", "Packets accepted from the endpoint.", "vpc", "endpoint")
	endpointSentBytes       = desc("endpoint_transmit_bytes_total", "Bytes accepted from the endpoint.", "vpc", "endpoint")
	endpointFlows           = desc("endpoint_flows_total", "New flows of the endpoint, both ways.", "vpc", "endpoint")
	endpointDrops           = desc("endpoint_dropped_packets_total", "Packets from or for the endpoint that were dropped, by reason.", "vpc", "endpoint", "reason")
)

var ofEndpoints = []*prometheus.Desc{
	endpointCount, meshEndpoints, endpointReceivedPackets, endpointReceivedBytes,
	endpointSentPackets, endpointSentBytes, endpointFlows, endpointDrops,
}

// collectEndpoints tells of the endpoints of a node: each node has its own counters only.
func collectEndpoints(to sink, endpoints []*api.Endpoint, node string) {
	to.gauge(meshEndpoints, float64(len(endpoints)))
	count := map[string]int{"ready": 0, "failed": 0, "superseded": 0}
	for _, e := range endpoints {
		if e.GetNodeId() != node {
			continue
		}
		count[e.GetState()]++
		n := e.GetCounters()
		if n == nil {
			continue
		}
		vpc, name := e.GetVpc(), e.GetName()
		to.counter(endpointReceivedPackets, n.GetRxPackets(), vpc, name)
		to.counter(endpointReceivedBytes, n.GetRxBytes(), vpc, name)
		to.counter(endpointSentPackets, n.GetTxPackets(), vpc, name)
		to.counter(endpointSentBytes, n.GetTxBytes(), vpc, name)
		to.counter(endpointFlows, n.GetFlows(), vpc, name)
		to.counters(endpointDrops, n.GetDrops(), vpc, name)
	}
	for state, n := range count {
		to.gauge(endpointCount, float64(n), state)
	}
}
