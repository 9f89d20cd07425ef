package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/types/known/timestamppb"

	api "edgenet.dev/edgenet/api/edgenet/v1"
)

// told is a source that tells what it is given.
type told struct {
	status    *api.GetStatusResponse
	nodes     []*api.Node
	tunnels   []*api.PeerTunnel
	endpoints []*api.Endpoint
	err       error
}

func (s told) Status() *api.GetStatusResponse { return s.status }
func (s told) ListNodes() []*api.Node         { return s.nodes }
func (s told) ListTunnels() []*api.PeerTunnel { return s.tunnels }
func (s told) ListEndpoints(context.Context, string) ([]*api.Endpoint, error) {
	return s.endpoints, s.err
}

// example is a node with something of everything.
func example() told {
	return told{
		status: &api.GetStatusResponse{
			Id: "aa", MeshId: "m", Version: "1.2.3", Started: timestamppb.New(time.Unix(1000, 5e8)), Problems: []string{"one", "two"},
			Drops: map[string]uint64{"no-endpoint": 3}, Refusals: map[string]uint64{"bad-signature": 4},
		},
		nodes: []*api.Node{
			{Name: "edge-1", State: "alive", Local: true, CertificateExpires: timestamppb.New(time.Unix(2000, 0))},
			{Name: "edge-2", State: "alive"},
			{Name: "edge-3", State: "dead"},
		},
		tunnels: []*api.PeerTunnel{
			{Node: "edge-2", Driver: "ipsec-kernel", Tunnel: &api.Tunnel{
				Driver: "ipsec-kernel", State: "up", RxBytes: 10, TxBytes: 20, Rekeys: 2, ReplayedPackets: 5, ForgedPackets: 6,
				RttMs: 4, Probes: 100, ProbesLost: 25, PathMtu: 1400, LastHandshake: timestamppb.New(time.Unix(1500, 0)),
			}},
			{Node: "edge-3", Driver: "wireguard-kernel", Tunnel: &api.Tunnel{State: "down", Problems: []*api.TunnelProblem{{}}}},
			{Node: "edge-4", Driver: "wireguard-kernel", Tunnel: &api.Tunnel{State: "resting"}},
			{Node: "edge-5", Tunnel: &api.Tunnel{State: "not needed"}},
			{Node: "edge-6"},
		},
		endpoints: []*api.Endpoint{
			{Name: "web", Vpc: "blue", NodeId: "aa", State: "ready", Counters: &api.Counters{
				RxPackets: 1, RxBytes: 2, TxPackets: 3, TxBytes: 4, Flows: 5, Drops: map[string]uint64{"no-ingress-rule": 6},
			}},
			{Name: "db", Vpc: "blue", NodeId: "aa", State: "failed"},
			{Name: "far", Vpc: "blue", NodeId: "bb", State: "ready"},
		},
	}
}

func scrape(t *testing.T, h http.Handler) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, Path, nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// has fails for lines that a scrape lacks.
func has(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("the scrape lacks %s", line)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestAScrapeTellsHowTheNodeStands(t *testing.T) {
	text := scrape(t, Handler(example(), NewCalls()))
	has(t, text,
		`edgenet_start_time_seconds 1000.5`, `edgenet_in_mesh 1`, `edgenet_problems 2`,
		`edgenet_certificate_expiry_timestamp_seconds 2000`,
		`edgenet_nodes{state="alive"} 2`, `edgenet_nodes{state="dead"} 1`, `edgenet_nodes{state="suspect"} 0`,
		`edgenet_dropped_packets_total{reason="no-endpoint"} 3`, `edgenet_refused_records_total{reason="bad-signature"} 4`,
		`edgenet_tunnels{driver="",state="not needed"} 2`, `edgenet_tunnels{driver="wireguard-kernel",state="down"} 1`,
		`edgenet_tunnel_up{driver="ipsec-kernel",peer="edge-2"} 1`, `edgenet_tunnel_up{driver="wireguard-kernel",peer="edge-3"} 0`,
		`edgenet_tunnel_up{driver="wireguard-kernel",peer="edge-4"} 1`,
		`edgenet_tunnel_receive_bytes_total{driver="ipsec-kernel",peer="edge-2"} 10`,
		`edgenet_tunnel_transmit_bytes_total{driver="ipsec-kernel",peer="edge-2"} 20`,
		`edgenet_tunnel_rekeys_total{driver="ipsec-kernel",peer="edge-2"} 2`,
		`edgenet_tunnel_replayed_packets_total{driver="ipsec-kernel",peer="edge-2"} 5`,
		`edgenet_tunnel_forged_packets_total{driver="ipsec-kernel",peer="edge-2"} 6`,
		`edgenet_tunnel_rtt_seconds{driver="ipsec-kernel",peer="edge-2"} 0.004`,
		`edgenet_tunnel_probe_loss_ratio{driver="ipsec-kernel",peer="edge-2"} 0.25`,
		`edgenet_tunnel_path_mtu_bytes{driver="ipsec-kernel",peer="edge-2"} 1400`,
		`edgenet_tunnel_last_handshake_timestamp_seconds{driver="ipsec-kernel",peer="edge-2"} 1500`,
		`edgenet_tunnel_problems{driver="wireguard-kernel",peer="edge-3"} 1`,
		`edgenet_mesh_endpoints 3`, `edgenet_endpoints{state="ready"} 1`, `edgenet_endpoints{state="failed"} 1`,
		`edgenet_endpoint_receive_packets_total{endpoint="web",vpc="blue"} 1`,
		`edgenet_endpoint_receive_bytes_total{endpoint="web",vpc="blue"} 2`,
		`edgenet_endpoint_transmit_packets_total{endpoint="web",vpc="blue"} 3`,
		`edgenet_endpoint_transmit_bytes_total{endpoint="web",vpc="blue"} 4`,
		`edgenet_endpoint_flows_total{endpoint="web",vpc="blue"} 5`,
		`edgenet_endpoint_dropped_packets_total{endpoint="web",reason="no-ingress-rule",vpc="blue"} 6`,
	)
	if !strings.Contains(text, `edgenet_build_info{goversion="go`) || !strings.Contains(text, "\nprocess_resident_memory_bytes ") {
		t.Errorf("the scrape lacks the version, or the process:\n%s", text)
	}
	for _, unmeasured := range []string{`edgenet_tunnel_rtt_seconds{driver="wireguard-kernel"`, `peer="edge-5"`, `endpoint="far"`} {
		if strings.Contains(text, unmeasured) {
			t.Errorf("the scrape has %s", unmeasured)
		}
	}
}

// Two endpoints of one name in two VPCs are two.
func TestEqualNamesAreKeptApart(t *testing.T) {
	s := example()
	s.endpoints = append(s.endpoints, &api.Endpoint{Name: "web", Vpc: "green", NodeId: "aa", State: "ready", Counters: &api.Counters{RxPackets: 9}})
	has(t, scrape(t, Handler(s, NewCalls())),
		`edgenet_endpoint_receive_packets_total{endpoint="web",vpc="blue"} 1`,
		`edgenet_endpoint_receive_packets_total{endpoint="web",vpc="green"} 9`)
}

func TestANodeInNoMeshSaysSo(t *testing.T) {
	text := scrape(t, Handler(told{status: &api.GetStatusResponse{}}, NewCalls()))
	has(t, text, "edgenet_in_mesh 0")
	if strings.Contains(text, "edgenet_nodes{") {
		t.Errorf("it tells of nodes:\n%s", text)
	}
}

// What cannot be read takes nothing else with it.
func TestWhatCannotBeReadIsLeftOut(t *testing.T) {
	s := example()
	s.err = errors.New("the map is gone")
	handler := Handler(s, NewCalls())
	scrape(t, handler) // What goes wrong in one is counted in the next.
	text := scrape(t, handler)
	has(t, text, `edgenet_nodes{state="alive"} 2`, `promhttp_metric_handler_errors_total{cause="gathering"} 1`)
	if strings.Contains(text, "edgenet_endpoints{") {
		t.Errorf("it tells of endpoints:\n%s", text)
	}
}

func TestNamesAreByConvention(t *testing.T) {
	calls := NewCalls()
	observe(t, calls, nil)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collector{example()}, calls.took)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// observe has one call go by.
func observe(t *testing.T, c *Calls, fails error) {
	t.Helper()
	next := c.WrapUnary(func(context.Context, connect.AnyRequest) (connect.AnyResponse, error) {
		return connect.NewResponse(&api.GetStatusResponse{}), fails
	})
	if _, err := next(t.Context(), connect.NewRequest(&api.GetStatusRequest{})); !errors.Is(err, fails) {
		t.Fatalf("got error %v, want %v", err, fails)
	}
}

func TestCallsAreMeasured(t *testing.T) {
	calls := NewCalls()
	observe(t, calls, nil)
	observe(t, calls, nil)
	observe(t, calls, connect.NewError(connect.CodeNotFound, errors.New("no such endpoint")))
	has(t, scrape(t, Handler(example(), calls)),
		`edgenet_api_call_duration_seconds_count{code="ok",procedure=""} 2`,
		`edgenet_api_call_duration_seconds_count{code="not_found",procedure=""} 1`)
}

// An address that somebody else has is taken as soon as it is free, and given back.
func TestAnAddressIsAwaited(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := netip.MustParseAddrPort(other.Addr().String())
	log := make(lines, 16)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Serve(ctx, address, Handler(example(), NewCalls()), slog.New(slog.NewTextHandler(log, nil)))
	}()
	log.await(t, "metrics cannot be served")
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	log.await(t, "metrics are served")
	client := &http.Client{Timeout: 10 * time.Second}
	for path, want := range map[string]int{Path: http.StatusOK, "/": http.StatusNotFound} {
		answer, err := client.Get(fmt.Sprintf("http://%s%s", address, path))
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, answer.Body)
		if err = errors.Join(err, answer.Body.Close()); err != nil || answer.StatusCode != want {
			t.Errorf("%s: status %d, error %v; want %d", path, answer.StatusCode, err, want)
		}
	}
	stop()
	<-ended
	client.CloseIdleConnections()
	again, err := net.Listen("tcp", address.String())
	if err != nil {
		t.Fatal("the address is not given back:", err)
	}
	_ = again.Close()
}

// lines takes what is logged.
type lines chan string

// Write implements [io.Writer].
func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// await returns when a line has some words.
func (l lines) await(t *testing.T, words string) {
	t.Helper()
	for limit := time.After(time.Minute); ; {
		select {
		case line := <-l:
			if strings.Contains(line, words) {
				return
			}
		case <-limit:
			t.Fatalf("nobody logs %q", words)
		}
	}
}

// promtool is Prometheus' own judge.
func promtool(t *testing.T, stdin string, args ...string) {
	t.Helper()
	program, err := filepath.Abs("../../bin/tools/promtool")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%v: run scripts/tools.sh rules", err)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, said)
	}
}

const rules = "../../dist/prometheus/edgenet.rules.yml"

func TestPrometheusTakesTheMetricsAndTheRules(t *testing.T) {
	promtool(t, scrape(t, Handler(example(), NewCalls())), "check", "metrics")
	promtool(t, "", "check", "rules", rules)
	promtool(t, "", "test", "rules", "../../dist/prometheus/edgenet_test.yml")
}

// described are the names of all metrics.
func described(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{"edgenet_api_call_duration_seconds": true}
	ch := make(chan *prometheus.Desc, 100)
	collector{}.Describe(ch)
	close(ch)
	for d := range ch {
		names[regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(d.String())[1]] = true
	}
	return names
}

// The manual has all metrics, and it and the rules have no others.
func TestTheManualAndTheRulesHaveTheRightNames(t *testing.T) {
	names := described(t)
	metric := regexp.MustCompile(`(?:^|[^:\w])(edgenet_\w+)`)
	for _, path := range []string{"../../docs/metrics.md", rules} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range metric.FindAllStringSubmatch(string(text), -1) {
			if name := strings.TrimSuffix(m[1], "_bucket"); !names[name] && name != "edgenet_test" {
				t.Errorf("%s names %s, which is no metric", path, name)
			}
		}
		if path == rules {
			continue
		}
		for name := range names {
			if !strings.Contains(string(text), "| `"+name+"` ") {
				t.Errorf("%s lacks %s", path, name)
			}
		}
	}
}
