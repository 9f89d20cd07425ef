package netns

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
)

// Prometheus sees two hosts whose tenants talk: the other node, its tunnel, the endpoint
// with its packets, and the call that attached it.
func TestPrometheusSeesANode(t *testing.T) {
	t.Parallel()
	const address = "127.0.0.1:9469"
	l := lab.New(t)
	hosts := []*lab.Host{l.Host("edge-1"), l.Host("edge-2")}
	hosts[0].Flags["metrics-address"] = address
	for _, h := range hosts {
		h.Start()
	}
	scrapes(l, hosts[0], address, "edgenet_in_mesh 0")
	hosts[0].Init()
	hosts[1].Join(hosts[0].Token())
	hosts[0].VPC("blue", "10.0.0.0/24")
	hosts[0].Group("blue", "all", open)
	web, db := hosts[0].Container("web"), hosts[1].Container("db")
	web.Attach("blue", "10.0.0.2", "all")
	db.Attach("blue", "10.0.0.3", "all")
	web.Reaches(db, "icmp")
	scrapes(
		l, hosts[0], address,
		`edgenet_in_mesh 1`, `edgenet_nodes{state="alive"} 2`, `edgenet_tunnel_up{driver="`, `edgenet_tunnel_rtt_seconds{driver="`,
		`edgenet_endpoints{state="ready"} 1`, `edgenet_mesh_endpoints 2`,
		`edgenet_endpoint_transmit_packets_total{endpoint="web",vpc="blue"} `,
		`edgenet_api_call_duration_seconds_count{code="ok",procedure="EndpointService/AttachEndpoint"} 1`,
	)
}

// scrapes awaits that a scrape has lines that begin so.
func scrapes(l *lab.Lab, h *lab.Host, address string, lines ...string) {
	l.Await("a scrape of "+h.Name+" tells all", func() error {
		text, err := exec.Command("ip", "netns", "exec", h.NamespaceName(), "curl", "-sS", "--max-time", "10", "http://"+address+"/metrics").CombinedOutput()
		if err != nil {
			return fmt.Errorf("curl: %w: %s", err, text)
		}
		for _, line := range lines {
			if !strings.Contains(string(text), "\n"+line) {
				return fmt.Errorf("it lacks %s", line)
			}
		}
		return nil
	})
}
