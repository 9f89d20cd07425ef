package metrics

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	api "edgenet.dev/edgenet/api/edgenet/v1"
)

// Source is what a scrape reads: the daemon.
type Source interface {
	Status() *api.GetStatusResponse
	ListNodes() []*api.Node
	ListTunnels() []*api.PeerTunnel
	ListEndpoints(ctx context.Context, vpc string) ([]*api.Endpoint, error)
}

// scrapeTime bounds how long a scrape reads.
const scrapeTime = 5 * time.Second

// collector reads its source at each scrape.
type collector struct{ source Source }

var (
	buildInfo   = desc("build_info", "1, with the version of edgenetd and of Go that it was built with.", "version", "goversion")
	startTime   = desc("start_time_seconds", "When edgenetd started, in seconds since 1970.")
	inMesh      = desc("in_mesh", "1 if the node is in a mesh, else 0.")
	problems    = desc("problems", "How much is wrong with the node: the problems that edgenetctl status names.")
	certExpires = desc("certificate_expiry_timestamp_seconds", "When the node's certificate ends, in seconds since 1970; it is renewed when a third is left.")
	nodes       = desc("nodes", "Nodes of the mesh, this one too, by state as this node sees it.", "state")
	hostDrops   = desc("dropped_packets_total", "Packets that were dropped on this host and belong to no endpoint, by reason.", "reason")
	refusals    = desc("refused_records_total", "Records of other nodes that were not believed, by reason, since edgenetd started.", "reason")
)

// own are the descriptions of what is told of the node as a whole.
var own = []*prometheus.Desc{buildInfo, startTime, inMesh, problems, certExpires, nodes, hostDrops, refusals}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("edgenet_"+name, help, labels, nil)
}

// Describe implements [prometheus.Collector].
func (c collector) Describe(to chan<- *prometheus.Desc) {
	for _, group := range [][]*prometheus.Desc{own, ofTunnels, ofEndpoints} {
		for _, d := range group {
			to <- d
		}
	}
}

// sink takes metrics.
type sink chan<- prometheus.Metric

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sink) counter(d *prometheus.Desc, v uint64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

// counters tells one for each reason.
func (s sink) counters(d *prometheus.Desc, byReason map[string]uint64, labels ...string) {
	for reason, n := range byReason {
		s.counter(d, n, append(labels[:len(labels):len(labels)], reason)...)
	}
}

// Collect implements [prometheus.Collector].
func (c collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	to, status := sink(ch), c.source.Status()
	to.gauge(buildInfo, 1, status.GetVersion(), runtime.Version())
	to.gauge(startTime, seconds(status.GetStarted()))
	to.gauge(problems, float64(len(status.GetProblems())))
	to.counters(hostDrops, status.GetDrops())
	to.counters(refusals, status.GetRefusals())
	if status.GetMeshId() == "" {
		to.gauge(inMesh, 0)
		return
	}
	to.gauge(inMesh, 1)
	c.collectNodes(to)
	collectTunnels(to, c.source.ListTunnels())
	endpoints, err := c.source.ListEndpoints(ctx, "")
	if err != nil {
		// The rest is told nevertheless.
		ch <- prometheus.NewInvalidMetric(endpointCount, fmt.Errorf("list endpoints: %w", err))
		return
	}
	collectEndpoints(to, endpoints, status.GetId())
}

func (c collector) collectNodes(to sink) {
	// A state that nobody is in any more goes to 0 instead of staying away.
	count := map[string]int{"alive": 0, "suspect": 0, "dead": 0, "left": 0}
	for _, n := range c.source.ListNodes() {
		count[n.GetState()]++
		if n.GetLocal() && n.GetCertificateExpires() != nil {
			to.gauge(certExpires, seconds(n.GetCertificateExpires()))
		}
	}
	for state, n := range count {
		to.gauge(nodes, float64(n), state)
	}
}
