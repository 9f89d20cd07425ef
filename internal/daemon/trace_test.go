package daemon_test

import (
	"strings"
	"testing"

	"connectrpc.com/connect"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/isolation"
)

func tcp(from, to string, port uint32) *api.TraceRequest {
	return &api.TraceRequest{Vpc: "blue", From: from, To: to, Protocol: "tcp", Port: port}
}

// honest is a program that does what guarded's rules say; it names no rules, for
// it knows no numbers.
func honest(vni uint32) func(isolation.Probe) isolation.Trace {
	return func(p isolation.Probe) isolation.Trace {
		web, db := isolation.Key{VNI: vni, Name: "web-1"}, isolation.Key{VNI: vni, Name: "db-1"}
		t := isolation.Trace{
			Egress:  &isolation.TraceSide{Endpoint: web, By: isolation.ByRules, Allowed: true},
			Ingress: &isolation.TraceSide{Endpoint: db, By: isolation.ByRules},
		}
		switch p.Destination.String() {
		case "10.0.0.6":
			t.Reason, t.DroppedAt = "no-ingress-rule", db
		case "10.0.0.1":
			t.Ingress = nil
		default:
			t.Ingress, t.Reason, t.DroppedAt = nil, "no-route", web
		}
		return t
	}
}

func TestATraceTellsOfRulesAndPrograms(t *testing.T) {
	n := guarded(t)
	n.Kernel.TraceWith(honest(db1(n).VNI))
	got, err := n.Trace(t.Context(), tcp("web-1", "db-1", 80))
	if err != nil {
		t.Fatal(err)
	}
	if got.GetVerdict() != "dropped" || got.GetReason() != "no-ingress-rule" || len(got.GetProblems()) > 0 || got.GetRoute().GetKind() != "local" {
		t.Errorf("got %v", got)
	}
	source, destination := got.GetSource(), got.GetDestination()
	if !source.GetRecords().GetPasses() || !source.GetProgram().GetPasses() || source.GetNode() != "cloud-1" || source.GetAddress() != "10.0.0.5" {
		t.Errorf("the sender's side is %v", source)
	}
	if destination.GetRecords().GetPasses() || destination.GetProgram().GetPasses() || destination.GetProgram().GetReason() != "no-ingress-rule" {
		t.Errorf("the receiver's side is %v", destination)
	}
	if p := got.GetPacket(); p.GetSource() != "10.0.0.5" || p.GetDestination() != "10.0.0.6" || p.GetPort() != 80 || p.GetSourcePort() == 0 {
		t.Errorf("the packet is %v", p)
	}
}

// The program here drops what the records let pass: it is told, and it counts.
func TestATraceTellsWhereRecordsAndProgramsDisagree(t *testing.T) {
	n := guarded(t)
	n.Kernel.TraceWith(honest(db1(n).VNI))
	got, err := n.Trace(t.Context(), tcp("10.0.0.5", "10.0.0.6", 5432))
	if err != nil {
		t.Fatal(err)
	}
	problems := strings.Join(got.GetProblems(), "\n")
	if got.GetVerdict() != "dropped" || !got.GetDestination().GetRecords().GetPasses() || !strings.Contains(problems, "records and program disagree") {
		t.Errorf("got %v", got)
	}
}

func TestATraceSaysWhatCouldNotBeAsked(t *testing.T) {
	n := guarded(t)
	got, err := n.Trace(t.Context(), tcp("web-1", "db-1", 5432))
	if err != nil {
		t.Fatal(err)
	}
	if got.GetVerdict() != "unknown" || len(got.GetProblems()) != 2 || !got.GetSource().GetRecords().GetPasses() || got.GetSource().GetMissing() == "" {
		t.Errorf("got %v", got)
	}
}

func TestATraceToWhatNoEndpointHas(t *testing.T) {
	n := guarded(t)
	n.Kernel.TraceWith(honest(db1(n).VNI))
	got, err := n.Trace(t.Context(), tcp("web-1", "10.0.0.99", 80))
	if err != nil || got.GetVerdict() != "dropped" || got.GetReason() != "no-route" || got.GetDestination() != nil || got.GetRoute().GetKind() != "none" {
		t.Errorf("to nobody: %v, %v", got, err)
	}
	got, err = n.Trace(t.Context(), &api.TraceRequest{Vpc: "blue", From: "web-1", To: "10.0.0.1", Protocol: "icmp"})
	if err != nil || got.GetVerdict() != "passes" || got.GetRoute().GetKind() != "gateway" || len(got.GetProblems()) > 0 || got.GetPacket().GetIcmp() != "8/0" {
		t.Errorf("to the gateway: %v, %v", got, err)
	}
}

func TestWrongTraces(t *testing.T) {
	tooBig := uint32(256)
	n := guarded(t)
	for words, req := range map[string]*api.TraceRequest{
		"no ports":        {Vpc: "blue", From: "web-1", To: "db-1", Protocol: "icmp", Port: 80},
		"no ICMP type":    {Vpc: "blue", From: "web-1", To: "db-1", Protocol: "tcp", Port: 80, IcmpCode: 1},
		"port 65536":      tcp("web-1", "db-1", 65536),
		"port 0":          tcp("web-1", "db-1", 0),
		`protocol "tcpx"`: {Vpc: "blue", From: "web-1", To: "db-1", Protocol: "tcpx"},
		"of one family":   {Vpc: "blue", From: "web-1", To: "db-1", Protocol: "icmpv6"},
		`"a b": want`:     tcp("a b", "db-1", 80),
		"ICMP type 256":   {Vpc: "blue", From: "web-1", To: "db-1", Protocol: "icmp", IcmpType: &tooBig},
	} {
		_, err := n.Trace(t.Context(), req)
		wantCode(t, err, connect.CodeInvalidArgument, words)
	}
	for words, req := range map[string]*api.TraceRequest{
		`vpc "red"`:      {Vpc: "red", From: "a", To: "b", Protocol: "tcp", Port: 80},
		`endpoint "x"`:   tcp("x", "db-1", 80),
		`endpoint "y"`:   tcp("web-1", "y", 80),
		"from 10.0.0.99": tcp("10.0.0.99", "db-1", 80),
	} {
		_, err := n.Trace(t.Context(), req)
		wantCode(t, err, connect.CodeNotFound, words)
	}
}
