package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

const manual = "../../docs/cli.md"

var (
	shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")
	// invocation is a command line of the tool, up to what is the shell's.
	invocation = regexp.MustCompile(`edgenetctl( [^|<>()#\n]*)`)
)

func readManual(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every example of the manual and of the help texts is a right command line,
// and every command has one in the manual.
func TestExamplesWork(t *testing.T) {
	var examples string
	for _, block := range shellBlock.FindAllStringSubmatch(readManual(t), -1) {
		examples += block[1]
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile("passphrase", []byte("correct horse battery\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	app := newApp(&env{getenv: func(string) string { return "" }})
	shown := map[string]bool{}
	try := func(text string) {
		for _, match := range invocation.FindAllStringSubmatch(text, -1) {
			args := strings.Fields(match[1])
			stdin := "edgenet1.Zm9v"
			if line, _ := arrange(app, args); line.value("file") == "-" {
				stdin = map[int]string{0: "[{name: web, rules: []}]", 1: "[]"}[len(line.args)]
			}
			if slices.Contains(args, "backup") { // Each example makes it anew, and the last is restored.
				_ = os.Remove("mesh.backup")
			}
			got := tool(t.Context(), mesh().serve(t), stdin, args...)
			// The fake ends every watch, which is an error.
			ends := slices.Contains(args, "watch") || slices.Contains(args, "events")
			if got.code != exitOK && !ends || got.code == exitUsage {
				t.Errorf("edgenetctl%s\n%+v", match[1], got)
			}
			line, _ := arrange(app, args)
			shown[strings.Join(line.words(), " ")] = true
		}
	}
	try(examples)
	var visit func(path []string)
	visit = func(path []string) {
		line, _ := arrange(app, path)
		next := line.subcommands(app)
		if len(next) == 0 && !shown[strings.Join(line.words(), " ")] {
			t.Errorf("%s has no example of %v", manual, path)
		}
		if len(line.path) > 0 {
			try(line.path[len(line.path)-1].Description)
		}
		for _, c := range next {
			visit(append(append([]string(nil), path...), c.Name))
		}
	}
	visit(nil)
}

func TestTheManualHasEveryFieldAndFlag(t *testing.T) {
	text := readManual(t)
	for _, message := range []protoreflect.ProtoMessage{
		&edgenetv1.Node{}, &edgenetv1.Link{}, &edgenetv1.Tunnel{}, &edgenetv1.VPC{}, &edgenetv1.Group{}, &edgenetv1.Rule{},
		&edgenetv1.Endpoint{}, &edgenetv1.Counters{}, &edgenetv1.GetStatusResponse{}, &edgenetv1.InitResponse{},
		&edgenetv1.CreateTokenResponse{}, &edgenetv1.JoinResponse{}, &edgenetv1.WatchResponse{},
		&edgenetv1.PolicyTest{}, &edgenetv1.DiffGroupsResponse{}, &edgenetv1.RuleChange{}, &edgenetv1.FlowChange{}, &edgenetv1.AuditEntry{},
		&edgenetv1.GetShadowResponse{}, &edgenetv1.RuleCount{}, &edgenetv1.EndpointCount{}, &edgenetv1.ShadowSample{},
		&edgenetv1.TraceResponse{}, &edgenetv1.TraceSide{}, &edgenetv1.Decision{}, &edgenetv1.Route{}, &edgenetv1.TracedPacket{},
		&edgenetv1.PeerTunnel{}, &edgenetv1.TunnelProblem{}, &edgenetv1.TunnelEvent{}, &edgenetv1.WatchTunnelsResponse{}, &edgenetv1.TunnelRule{}, &edgenetv1.DoctorReport{}, &edgenetv1.DoctorCheck{},
		&edgenetv1.GetHealthResponse{}, &edgenetv1.Finding{}, &edgenetv1.Flow{}, &edgenetv1.FlushFlowsResponse{}, &edgenetv1.WatchDropsResponse{}, &edgenetv1.Drop{},
		&edgenetv1.Grant{}, &edgenetv1.MeshSettings{}, &edgenetv1.SetMeshSettingsResponse{},
	} {
		fields := message.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			if name := fields.Get(i).JSONName(); !strings.Contains(text, "`"+name+"`") {
				t.Errorf("%s lacks the field %s of %s", manual, name, message.ProtoReflect().Descriptor().Name())
			}
		}
	}
	var visit func(line *commandLine)
	app := newApp(&env{getenv: func(string) string { return "" }})
	visit = func(line *commandLine) {
		for _, f := range line.flags() {
			if !strings.Contains(text, "--"+f.Names()[0]) {
				t.Errorf("%s lacks --%s of %v", manual, f.Names()[0], line.words())
			}
		}
		for _, c := range line.subcommands(app) {
			next, _ := arrange(app, append(line.words()[1:], c.Name))
			visit(next)
		}
	}
	visit(&commandLine{})
}
