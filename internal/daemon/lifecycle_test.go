package daemon_test

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"connectrpc.com/connect"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/daemon"
	"edgenet.dev/edgenet/internal/daemon/daemontest"
	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/tunnel"
)

func wantCode(t *testing.T, err error, code connect.Code, words ...string) {
	t.Helper()
	var own *daemon.Error
	if !errors.As(err, &own) || own.Code != code {
		t.Errorf("got error %v, want one with code %v", err, code)
		return
	}
	for _, w := range words {
		if strings.Count(err.Error(), w) != 1 {
			t.Errorf("error %q: want %q in it, once", err, w)
		}
	}
}

func attachRequest(name, ip string, groups ...string) *api.AttachEndpointRequest {
	return &api.AttachEndpointRequest{
		Name: name, Vpc: "blue", Ip: ip, Groups: groups,
		Target: &api.AttachEndpointRequest_Netns{Netns: &api.NetnsTarget{Path: "/run/netns/" + name}},
	}
}

// authority is a mesh of one node with the VPC blue, whose VNI it returns.
func authority(t *testing.T) (*daemontest.Node, uint32) {
	t.Helper()
	n := daemontest.Start(t, "cloud-1", nil)
	if _, err := n.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	v, err := n.CreateVPC(t.Context(), &api.CreateVPCRequest{Name: "blue", Cidrs: []string{"10.0.0.0/24"}})
	if err != nil {
		t.Fatal(err)
	}
	return n, v.GetVni()
}

func mustAttach(t *testing.T, n *daemontest.Node, req *api.AttachEndpointRequest) *api.Endpoint {
	t.Helper()
	e, err := n.AttachEndpoint(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func state(t *testing.T, n *daemontest.Node, name string) string {
	t.Helper()
	e, err := n.GetEndpoint(t.Context(), name, "blue")
	if err != nil {
		return err.Error()
	}
	return e.GetState()
}

func TestAnAttachThatFailsLeavesNothing(t *testing.T) {
	n, vni := authority(t)
	web := isolation.Key{VNI: vni, Name: "web"}
	n.Kernel.Break(web, errors.New("open network namespace: it is gone"))
	_, err := n.AttachEndpoint(t.Context(), attachRequest("web", "10.0.0.5"))
	wantCode(t, err, connect.CodeFailedPrecondition, "attach endpoint web: ", "it is gone")
	n.Kernel.Break(web, nil)

	ctx, cancel := context.WithCancel(t.Context())
	n.Kernel.During(func(isolation.State) { cancel() }) // The caller goes away midway.
	if _, err := n.AttachEndpoint(ctx, attachRequest("web", "10.0.0.5")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the caller has gone", err)
	}
	n.Kernel.During(nil)
	if got := n.Kernel.Endpoints(); len(got) > 0 {
		t.Errorf("the kernel has %v", got)
	}
	if all, err := n.ListEndpoints(t.Context(), ""); err != nil || len(all) > 0 {
		t.Errorf("the records have %v, %v", all, err)
	}
}

func TestTheLatestAttachOfAnAddressWinsOnOneHost(t *testing.T) {
	n, _ := authority(t)
	mustAttach(t, n, attachRequest("old", "10.0.0.5"))
	mustAttach(t, n, attachRequest("new", "10.0.0.5"))
	if got := n.Kernel.Endpoints(); len(got) != 1 || got[0].Name != "new" {
		t.Errorf("in force are %v, want the new one alone", got)
	}
	daemontest.Await(t, "the loser knows for good", func() bool { return state(t, n, "old") == "superseded" })
	if err := n.DetachEndpoint(t.Context(), "new", "blue"); err != nil {
		t.Fatal(err)
	}
	if got := state(t, n, "old"); got != "superseded" {
		t.Errorf("the loser is %s after the winner ended", got)
	}
	mustAttach(t, n, attachRequest("old", "10.0.0.5"))
	if got := state(t, n, "old"); got != "ready" {
		t.Errorf("attached anew it is %s", got)
	}
	if err := n.DetachEndpoint(t.Context(), "old", "blue"); err != nil {
		t.Error(err)
	}
	if err := n.DetachEndpoint(t.Context(), "old", "blue"); err == nil {
		t.Error("it was detached twice")
	}
}

func TestTheSameAttachLooksAtTheKernel(t *testing.T) {
	n, vni := authority(t)
	first := mustAttach(t, n, attachRequest("web", "10.0.0.5"))
	before := n.Kernel.Applied()
	again := mustAttach(t, n, attachRequest("web", "10.0.0.5"))
	if n.Kernel.Applied() == before {
		t.Error("the kernel was not looked at")
	}
	if first.GetAttached().AsTime() != again.GetAttached().AsTime() {
		t.Error("it counts as another attach")
	}
	_, err := n.AttachEndpoint(t.Context(), attachRequest("web", "10.0.0.6"))
	wantCode(t, err, connect.CodeAlreadyExists, "detach it first")

	n.Kernel.Break(isolation.Key{VNI: vni, Name: "web"}, errors.New("another namespace"))
	_, err = n.AttachEndpoint(t.Context(), attachRequest("web", "10.0.0.5"))
	wantCode(t, err, connect.CodeFailedPrecondition, "another namespace")
	daemontest.Await(t, "it is told as failed", func() bool { return state(t, n, "web") == "failed" })
	n.Kernel.Break(isolation.Key{VNI: vni, Name: "web"}, nil)
	mustAttach(t, n, attachRequest("web", "10.0.0.5"))
	if got := state(t, n, "web"); got != "ready" {
		t.Errorf("mended it is %s", got)
	}
}

func TestOneBrokenEndpointStopsNoOther(t *testing.T) {
	n, vni := authority(t)
	mustAttach(t, n, attachRequest("web", "10.0.0.5"))
	n.Kernel.Break(isolation.Key{VNI: vni, Name: "web"}, errors.New("broken"))
	mustAttach(t, n, attachRequest("db", "10.0.0.6"))
}

func TestGroupsOfAnEndpointCanBeChanged(t *testing.T) {
	n, _ := authority(t)
	if _, err := n.CreateGroup(t.Context(), "web", "blue"); err != nil {
		t.Fatal(err)
	}
	first := mustAttach(t, n, attachRequest("web", "10.0.0.5"))
	again := mustAttach(t, n, attachRequest("web", "10.0.0.5", "web", "web"))
	if len(again.GetGroups()) != 1 || first.GetAttached().AsTime() != again.GetAttached().AsTime() {
		t.Errorf("got %v, want the same attach with one group", again)
	}
	wantCode(t, n.DeleteGroup(t.Context(), "web", "blue"), connect.CodeFailedPrecondition, "endpoint web on node cloud-1 carries it")
	wantCode(t, n.DeleteVPC(t.Context(), "blue"), connect.CodeFailedPrecondition, "detach it first")
	_, err := n.AttachEndpoint(t.Context(), attachRequest("db", "10.0.0.6", "absent"))
	wantCode(t, err, connect.CodeNotFound, "attach endpoint db: ", `group "absent"`)
}

// An authority deletes the VPC before it hears of an endpoint in it.
func TestAnEndpointOfADeletedVPCCanBeDetached(t *testing.T) {
	n, _ := authority(t)
	var deleted error
	n.Kernel.During(func(s isolation.State) {
		if len(s.VPCs) > 0 && deleted == nil {
			deleted = errors.Join(errors.New("once"), n.DeleteVPC(context.Background(), "blue"))
		}
	})
	mustAttach(t, n, attachRequest("web", "10.0.0.5"))
	n.Kernel.During(nil)
	daemontest.Await(t, "it is cut off", func() bool { return len(n.Kernel.Endpoints()) == 0 })
	daemontest.Await(t, "status says why", func() bool {
		return strings.Contains(strings.Join(n.Status().GetProblems(), " "), "was deleted")
	})
	// A new VPC of the name is another one.
	if _, err := n.CreateVPC(t.Context(), &api.CreateVPCRequest{Name: "blue", Cidrs: []string{"10.0.0.0/24"}}); err != nil {
		t.Fatal(err)
	}
	if err := n.DetachEndpoint(t.Context(), "web", "blue"); err != nil {
		t.Fatal(err)
	}
	if all, err := n.ListEndpoints(t.Context(), ""); err != nil || len(all) > 0 {
		t.Errorf("left are %v, %v", all, err)
	}
}

func TestWithoutATunnelDeviceAttachesAreForLater(t *testing.T) {
	n := daemontest.Start(t, "cloud-1", nil)
	n.Kernel.BreakTunnels(errors.New("no device carries this address"))
	if _, err := n.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := n.CreateVPC(t.Context(), &api.CreateVPCRequest{Name: "blue", Cidrs: []string{"10.0.0.0/24"}}); err != nil {
		t.Fatal(err)
	}
	_, err := n.AttachEndpoint(t.Context(), attachRequest("web", "10.0.0.5"))
	wantCode(t, err, connect.CodeUnavailable, "attach endpoint web: ", "no device carries this address")
	if problems := strings.Join(n.Status().GetProblems(), " "); !strings.Contains(problems, "no device carries") {
		t.Errorf("status has the problems %q", problems)
	}
	n.Kernel.BreakTunnels(nil)
	daemontest.Await(t, "it is mended by itself", func() bool {
		_, err := n.AttachEndpoint(t.Context(), attachRequest("web", "10.0.0.5"))
		return err == nil
	})
}

func TestARestartEndsInTheSameState(t *testing.T) {
	n, _ := authority(t)
	mustAttach(t, n, attachRequest("web", "10.0.0.5"))
	n.Stop()
	n.Start()
	before := n.Kernel.Applied()
	daemontest.Await(t, "the first round", func() bool { return n.Kernel.Applied() > before })
	if got := n.Kernel.Endpoints(); len(got) != 1 || state(t, n, "web") != "ready" {
		t.Errorf("in force are %v", got)
	}
}

func TestLeaveTakesEverythingAway(t *testing.T) {
	n, _ := authority(t)
	mustAttach(t, n, attachRequest("web", "10.0.0.5"))
	before, _ := n.Kernel.Downs()
	if err := n.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if downs, removed := n.Kernel.Downs(); downs != before+1 || !removed {
		t.Errorf("tunnels were taken down %d times, datapath removed: %v", downs-before, removed)
	}
	wantCode(t, n.Leave(t.Context()), connect.CodeFailedPrecondition, "in no mesh")
	_, err := n.AttachEndpoint(t.Context(), attachRequest("web", "10.0.0.5"))
	wantCode(t, err, connect.CodeFailedPrecondition, "in no mesh")
	// A daemon that was killed before it came to the tunnels takes them down
	// when it starts.
	n.Stop()
	n.Start()
	daemontest.Await(t, "the tunnels are taken down", func() bool {
		downs, _ := n.Kernel.Downs()
		return downs == before+2
	})
	if _, err := n.Init(t.Context()); err != nil {
		t.Errorf("init after leave: %v", err)
	}
}

func TestAttachAndLeaveAtOnce(t *testing.T) {
	n, _ := authority(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 50 {
			// Whatever comes of it.
			_, _ = n.AttachEndpoint(context.Background(), attachRequest("web", "10.0.0.5")) //nolint:errcheck // either end is right
			_ = n.DetachEndpoint(context.Background(), "web", "blue")                       //nolint:errcheck // either end is right
		}
	}()
	if err := n.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	<-done
	if got := n.Kernel.Endpoints(); len(got) > 0 {
		t.Errorf("in force are %v", got)
	}
}

func TestOneRunDirectoryOneDaemon(t *testing.T) {
	n := daemontest.Start(t, "edge-1", nil)
	_, err := daemon.New(n.Config, n.Kernel.Daemon(), nil, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), n.Config.RunDir) {
		t.Errorf("a second daemon was told %v", err)
	}
	err = daemon.Cleanup(t.Context(), n.Config, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "another edgenetd uses it") {
		t.Errorf("clean-up of a running daemon was told %v", err)
	}
}

func TestTheRunDirectoryCanBeEnteredByAll(t *testing.T) {
	n := daemontest.Start(t, "edge-1", nil)
	n.Stop()
	n.Config.RunDir += "/new/run"
	n.Start()
	info, err := os.Stat(n.Config.RunDir)
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("got mode %v, %v", info.Mode(), err)
	}
	info, err = os.Stat(n.Config.StateDir + "/node.key")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %v, %v", info.Mode(), err)
	}
}

// A device that tunnels make brings tenants' packets to nobody until the datapath is
// on it: a member that starts opens that first, however long it takes.
func TestAMembersDatapathIsOpenedBeforeItsTunnelsAreLookedAt(t *testing.T) {
	n, _ := authority(t)
	key, err := base64.StdEncoding.DecodeString(n.Status().GetTunnelKey().GetPublicKey())
	if err != nil {
		t.Fatal(err)
	}
	n.Stop()
	if err := n.Kernel.Network.Driver(tunnel.PublicKey(key)).Down(t.Context()); err != nil { // as by a reboot
		t.Fatal(err)
	}
	upAtOpening := make(chan bool, 16)
	n.Kernel.Opening(func() {
		select {
		case upAtOpening <- n.Kernel.Has(tunnel.WireGuard):
		default: // the first is enough
		}
	})
	n.Start()
	if <-upAtOpening {
		t.Error("tunnels were brought up before the datapath was opened")
	}
	daemontest.Await(t, "tunnels are up", func() bool { return n.Kernel.Has(tunnel.WireGuard) })
}
