package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// A probe of memberlist that is under way at its shutdown ends by its own
// timeout, a second later at most.
func TestMain(m *testing.M) {
	if text := os.Getenv(liarEnv); text != "" {
		os.Exit(runLiar(text))
	}
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode.func3"))
}

// nextHost numbers the loopback addresses that tests use: every node of a test
// has an address, and so all ports, of its own.
var nextHost atomic.Uint32

// loopback returns an address of 127.0.0.0/8 that no other test of any process
// uses.
func loopback() netip.Addr {
	n, pid := nextHost.Add(1), uint32(os.Getpid()) // A pid is not negative.
	return netip.AddrFrom4([4]byte{127, byte(64 + pid>>8&63), byte(pid), byte(1 + n%250)})
}

// host is a node of a test.
type host struct {
	*Mesh
	t      *testing.T
	cfg    Config
	cancel context.CancelFunc
	done   chan error
}

// newHost opens a node and runs it.
func newHost(t *testing.T, name string, change ...func(*Config)) *host {
	t.Helper()
	h := &host{t: t, cfg: Config{
		StateDir: t.TempDir(), Name: name, Version: "test",
		Links: []Link{{Addr: loopback(), Carrier: "lo"}},
	}}
	if testing.Verbose() && os.Getenv("MESH_TEST_LOG") != "" {
		h.cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("host", name)
	}
	for _, f := range change {
		f(&h.cfg)
	}
	h.start()
	t.Cleanup(h.stop)
	return h
}

// start opens and runs the node.
func (h *host) start() {
	h.t.Helper()
	m, err := Open(h.cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(h.t.Context())
	h.Mesh, h.cancel, h.done = m, cancel, make(chan error, 1)
	go func() { h.done <- m.Run(ctx) }()
	select {
	case <-m.Ready():
	case err := <-h.done:
		h.t.Fatal(err)
	case <-time.After(5 * time.Second):
		h.t.Fatal("not ready")
	}
}

// stop ends the node as a kill would: nobody is told.
func (h *host) stop() {
	h.t.Helper()
	if h.cancel == nil {
		return
	}
	h.cancel()
	h.cancel = nil
	if err := <-h.done; err != nil {
		h.t.Error(err)
	}
	if err := h.Close(); err != nil {
		h.t.Error(err)
	}
}

// token makes a join token.
func (h *host) token(q TokenRequest) string {
	h.t.Helper()
	text, _, err := h.CreateToken(q)
	if err != nil {
		h.t.Fatal(err)
	}
	return text
}

// put puts an endpoint of the node's own and returns its key.
func (h *host) put(name, payload string) string {
	h.t.Helper()
	key := endpointKey(h.Self().ID, name)
	if _, err := h.Put(h.t.Context(), KindEndpoint, key, []byte(payload)); err != nil {
		h.t.Fatal(err)
	}
	return key
}

func endpointKey(id NodeID, name string) string { return fmt.Sprintf("%s/7/%s", id, name) }

// newMesh makes a mesh of some nodes; the first is its authority.
func newMesh(t *testing.T, names ...string) []*host {
	t.Helper()
	var hosts []*host
	for i, name := range names {
		h := newHost(t, name)
		hosts = append(hosts, h)
		var err error
		if i == 0 {
			err = h.Init(t.Context())
		} else {
			err = h.Join(t.Context(), hosts[0].token(TokenRequest{}))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range hosts {
		h.sees(names...)
	}
	return hosts
}

// sees waits until the node sees exactly these as alive.
func (h *host) sees(names ...string) {
	h.t.Helper()
	eventually(h.t, 20*time.Second, h.Mesh, func() error {
		alive := map[string]bool{}
		for _, n := range h.Nodes() {
			if n.State == StateAlive {
				alive[n.Name] = true
			}
		}
		for _, name := range names {
			if !alive[name] {
				return fmt.Errorf("%s does not see %s as alive", h.cfg.Name, name)
			}
		}
		if len(alive) != len(names) {
			return fmt.Errorf("%s sees %v, want %v", h.cfg.Name, alive, names)
		}
		return nil
	})
}

// has waits until the node has a record with a payload.
func (h *host) has(kind Kind, key, payload string) {
	h.t.Helper()
	eventually(h.t, 15*time.Second, h.Mesh, func() error {
		r, ok := h.Get(kind, key)
		if !ok || string(r.Payload) != payload {
			return fmt.Errorf("%s has %q, %t of %s, want %q", h.cfg.Name, r.Payload, ok, key, payload)
		}
		return nil
	})
}

// lacks waits until the node has no such endpoint.
func (h *host) lacks(key string) {
	h.t.Helper()
	eventually(h.t, 15*time.Second, h.Mesh, func() error {
		if _, ok := h.Get(KindEndpoint, key); ok {
			return fmt.Errorf("%s still has %s", h.cfg.Name, key)
		}
		return nil
	})
}

// eventually waits for a condition of a mesh, looking after every change.
func eventually(t *testing.T, limit time.Duration, m *Mesh, cond func() error) {
	t.Helper()
	changed, cancel := m.Subscribe()
	defer cancel()
	over := time.After(limit)
	for {
		err := cond()
		if err == nil {
			return
		}
		select {
		case <-changed:
		case <-over:
			t.Fatal(err)
		}
	}
}

// wantError fails unless err wraps want.
func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

// wantText fails unless err says all the parts.
func wantText(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
}
