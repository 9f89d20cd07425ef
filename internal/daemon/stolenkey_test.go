package daemon_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/config"
	"edgenet.dev/edgenet/internal/daemon/daemontest"
	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard"
)

// A node of the mesh announces the tunnel key of one that the others do not have a
// tunnel to yet. It gets none by it, and the key's owner gets its own as if nothing
// had been.
func TestAStolenKeyOpensNothing(t *testing.T) {
	cloud, _ := authority(t)
	victim := daemontest.Start(t, "edge-1", nil)
	key, err := wireguard.LoadOrCreateKey(filepath.Join(victim.Config.StateDir, "wireguard.key"))
	if err != nil {
		t.Fatal(err)
	}
	public, thiefs := key.Public(), mustGenerate(t)
	thief := bareNode(t, cloud, "edge-2")
	proof, err := thiefs.Prove(string(thief.Self().ID)) // which is of another key
	if err != nil {
		t.Fatal(err)
	}
	payload, err := proto.Marshal(&records.Announcement{Wireguard: &records.WireGuard{PublicKey: public[:], Port: 51820, Proof: proof}})
	if err != nil {
		t.Fatal(err)
	}
	if err := thief.SetAnnouncement(payload); err != nil {
		t.Fatal(err)
	}
	tunnelTo := func(node string) *api.PeerTunnel {
		for _, p := range cloud.ListTunnels() {
			if p.GetNode() == node {
				return p
			}
		}
		return nil
	}
	refused := func() bool {
		p := tunnelTo("edge-2").GetTunnel()
		return p.GetState() == "down" && strings.Contains(p.String(), "without proof")
	}
	daemontest.Await(t, "the thief gets no tunnel, and it is said why", refused)
	if _, err := victim.Join(t.Context(), newToken(t, cloud)); err != nil {
		t.Fatal(err)
	}
	daemontest.Await(t, "the key's owner is a peer", func() bool { return tunnelTo("edge-1").GetTunnel().GetState() == "connecting" })
	if !refused() {
		t.Errorf("with the key's owner there, the thief is %v", tunnelTo("edge-2"))
	}
}

func newToken(t *testing.T, at *daemontest.Node) string {
	t.Helper()
	token, err := at.CreateToken(t.Context(), &api.CreateTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return token.GetToken()
}

func mustGenerate(t *testing.T) wireguard.PrivateKey {
	t.Helper()
	key, err := wireguard.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// bareNode is a member that says what it is told to, and does nothing else.
func bareNode(t *testing.T, authority *daemontest.Node, name string) *mesh.Mesh {
	t.Helper()
	m, err := mesh.Open(mesh.Config{
		StateDir: t.TempDir(), Name: name, Links: []mesh.Link{{Addr: daemontest.Loopback()}},
		GossipPort: config.DefaultGossipPort, PeerPort: config.DefaultPeerPort,
		Logger: slog.New(slog.DiscardHandler), Validate: records.Validate,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	<-m.Ready()
	if err := m.Join(t.Context(), newToken(t, authority)); err != nil {
		t.Fatal(err)
	}
	return m
}
