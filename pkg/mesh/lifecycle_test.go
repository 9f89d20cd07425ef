package mesh

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// All nodes go down at once and come back: they have what they had, and find
// each other with no one's help.
func TestRestartOfAllNodesKeepsTheMesh(t *testing.T) {
	hosts := newMesh(t, "centre", "edge-1", "edge-2")
	key := hosts[2].put("db", "kept")
	if _, err := hosts[0].Put(t.Context(), KindVPC, "blue", []byte("vpc")); err != nil {
		t.Fatal(err)
	}
	if err := hosts[1].SetAnnouncement([]byte("key of edge-1")); err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		h.has(KindEndpoint, key, "kept")
		h.has(KindVPC, "blue", "vpc")
	}
	before := hosts[1].Now()
	for _, h := range hosts {
		h.stop()
	}
	for _, h := range hosts {
		h.start()
		if _, ok := h.MeshID(); !ok {
			t.Fatalf("%s forgot its mesh", h.cfg.Name)
		}
		h.has(KindEndpoint, key, "kept") // Before anybody else is there.
		h.has(KindVPC, "blue", "vpc")
	}
	for _, h := range hosts {
		h.sees("centre", "edge-1", "edge-2")
	}
	if after := hosts[1].Now(); after <= before {
		t.Errorf("the clock went back from %d to %d", before, after)
	}
	eventually(t, 5*time.Second, hosts[0].Mesh, func() error {
		n, ok := hosts[0].Node("edge-1")
		if !ok || string(n.Announcement) != "key of edge-1" {
			return fmt.Errorf("centre knows the announcement %q, %t", n.Announcement, ok)
		}
		return nil
	})
}

// A restart that changes nothing signs nothing anew.
func TestRestartKeepsTheNodeRecord(t *testing.T) {
	h := newHost(t, "solo")
	if err := h.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.SetAnnouncement([]byte("a")); err != nil {
		t.Fatal(err)
	}
	first, _ := h.Get(KindNode, string(h.Self().ID))
	h.stop()
	h.start()
	if err := h.SetAnnouncement([]byte("a")); err != nil {
		t.Fatal(err)
	}
	if again, _ := h.Get(KindNode, string(h.Self().ID)); again.Version != first.Version {
		t.Errorf("the record was signed anew: %d, then %d", first.Version, again.Version)
	}
	h.stop()
	h.cfg.Version = "newer"
	h.start()
	if again, _ := h.Get(KindNode, string(h.Self().ID)); again.Version <= first.Version {
		t.Error("another program version is not in the node record")
	}
}

// A node that dies is seen as dead soon, and keeps its place. It dies before its
// witnesses have heard it for long: that may be memberlist's to find out.
func TestADeadNodeIsNoticed(t *testing.T) {
	hosts := newMesh(t, "centre", "edge-1", "edge-2", "edge-3")
	begin := time.Now()
	hosts[3].stop()
	var watchers sync.WaitGroup
	for _, h := range hosts[:3] {
		watchers.Go(func() {
			awaitState(h.Mesh, "edge-3", StateDead)
		})
	}
	watchers.Wait()
	took := time.Since(begin)
	t.Logf("dead after %s", took)
	if took > 10*time.Second {
		t.Error("that is too long")
	}
	hosts[3].start()
	for _, h := range hosts {
		h.sees("centre", "edge-1", "edge-2", "edge-3")
	}
}

// A node that was away catches up with what was said and deleted meanwhile.
func TestAnAbsentNodeCatchesUp(t *testing.T) {
	hosts := newMesh(t, "centre", "edge-1")
	old := hosts[0].put("old", "x")
	hosts[1].has(KindEndpoint, old, "x")
	hosts[1].stop()
	if err := hosts[0].Delete(t.Context(), KindEndpoint, old); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for i := range 300 {
		keys = append(keys, hosts[0].put(fmt.Sprintf("e%d", i), "y"))
	}
	hosts[1].start()
	for _, k := range keys {
		hosts[1].has(KindEndpoint, k, "y")
	}
	hosts[1].lacks(old)
	if got := hosts[1].List(KindEndpoint); !slices.IsSortedFunc(got, func(a, b Record) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	}) {
		t.Error("List is not sorted")
	}
}

// Records that fit into no packet, and very many at once, arrive too.
func TestBigAndManyRecordsSpread(t *testing.T) {
	hosts := newMesh(t, "centre", "edge-1", "edge-2")
	big := string(make([]byte, MaxPayload))
	begin := time.Now()
	key := hosts[1].put("big", big)
	for _, h := range hosts {
		h.has(KindEndpoint, key, big)
	}
	t.Logf("1 MiB was everywhere after %s", time.Since(begin))
	begin = time.Now()
	var keys []string
	for i := range 500 {
		keys = append(keys, hosts[2].put(fmt.Sprintf("n%d", i), "many"))
	}
	for _, h := range hosts {
		for _, k := range keys {
			h.has(KindEndpoint, k, "many")
		}
	}
	t.Logf("500 records were everywhere after %s", time.Since(begin))
	_, err := hosts[0].Put(t.Context(), KindVPC, "v", make([]byte, MaxPayload+1))
	wantText(t, err, "more than")
}

// A node that leaves is known to have left, takes its records along, and can
// join again.
func TestLeaveAndJoinAgain(t *testing.T) {
	hosts := newMesh(t, "centre", "edge-1", "edge-2")
	key := hosts[1].put("web", "x")
	hosts[2].has(KindEndpoint, key, "x")
	id := hosts[1].Self().ID
	if err := hosts[1].Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok := hosts[1].MeshID(); ok || len(hosts[1].Nodes()) != 0 || len(hosts[1].List(KindEndpoint)) != 0 {
		t.Error("something of the mesh is left")
	}
	_, err := hosts[1].Put(t.Context(), KindEndpoint, key, nil)
	wantError(t, err, ErrNotInMesh)
	for _, h := range []*host{hosts[0], hosts[2]} {
		h.lacks(key)
		eventually(t, 10*time.Second, h.Mesh, func() error {
			if n, _ := h.Node("edge-1"); n.State != StateLeft {
				return fmt.Errorf("%s sees edge-1 as %s", h.cfg.Name, n.State)
			}
			return nil
		})
	}
	wantError(t, hosts[1].Leave(t.Context()), ErrNotInMesh)
	if err := hosts[1].Join(t.Context(), hosts[0].token(TokenRequest{Roles: []Role{RoleGateway}})); err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		h.sees("centre", "edge-1", "edge-2")
	}
	if n, _ := hosts[2].Node("edge-1"); n.ID != id || !slices.Equal(n.Roles, []Role{RoleGateway}) {
		t.Errorf("it came back as %s with %v", n.ID, n.Roles)
	}
}

// An authority that leaves can make another mesh.
func TestAuthorityLeavesAndInits(t *testing.T) {
	h := newHost(t, "solo")
	if err := h.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantError(t, h.Init(t.Context()), ErrInMesh)
	wantError(t, h.Join(t.Context(), "x"), ErrInMesh)
	first, _ := h.MeshID()
	if err := h.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	if second, ok := h.MeshID(); !ok || second == first {
		t.Errorf("the second mesh is %q, the first was %q", second, first)
	}
	if self := h.Self(); !self.Prefix.IsValid() || !h.MeshPrefix().Contains(self.Addr) || h.MeshPrefix().Bits() != 24 {
		t.Errorf("prefixes do not fit: %v in %v", self, h.MeshPrefix())
	}
}

// The owner's calls go from node to node, each knowing the other.
func TestPeerCalls(t *testing.T) {
	serve := func(c *Config) {
		c.PeerHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, ok := PeerFromContext(r.Context())
			_, _ = fmt.Fprintf(w, "%s %t %s", n.Name, ok, r.Proto)
		})
	}
	centre, edge := newHost(t, "centre", serve), newHost(t, "edge")
	if err := centre.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := edge.Join(t.Context(), centre.token(TokenRequest{})); err != nil {
		t.Fatal(err)
	}
	edge.sees("centre", "edge")
	id := edge.Authorities()[0].ID
	get := func(url string) (string, error) {
		resp, err := edge.PeerClient(id).Get(url)
		if err != nil {
			return "", err
		}
		body, err := io.ReadAll(resp.Body)
		return string(body), errors.Join(err, resp.Body.Close())
	}
	body, err := get(PeerURL(id) + "/call")
	if err != nil || body != "edge true HTTP/2.0" {
		t.Errorf("the call gave %q, %v", body, err)
	}
	_, err = get(PeerURL(edge.Self().ID) + "/call")
	wantText(t, err, "the request is for")
	_, err = edge.PeerClient(NodeID(endpointKey(id, "")[:0])).Get("https://x")
	wantText(t, err, "the request is for")
}

// awaitState follows the states of a node until it has a certain one, for up to
// 20 seconds.
func awaitState(m *Mesh, name string, want State) {
	changed, cancel := m.Subscribe()
	defer cancel()
	over := time.After(20 * time.Second)
	for {
		n, _ := m.Node(name)
		if n.State == want {
			return
		}
		select {
		case <-changed:
		case <-over:
			return
		}
	}
}
