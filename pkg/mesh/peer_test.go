package mesh

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// strangerClient calls a node as somebody who has this certificate, or none.
func strangerClient(t *testing.T, certs ...tls.Certificate) *http.Client {
	t.Helper()
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, Certificates: certs},
		ForceAttemptHTTP2: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 5 * time.Second}
}

// post calls a path and returns the status.
func post(t *testing.T, c *http.Client, url string, body []byte) (int, error) {
	t.Helper()
	resp, err := c.Post(url, messageType, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, errors.Join(err, resp.Body.Close())
}

// Who has no certificate of this mesh can do nothing but ask to join.
func TestStrangersAreNotServed(t *testing.T) {
	asked := false
	centre := newAuthorityHost(t, func(c *Config) {
		c.PeerHandler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true })
	})
	base := "https://" + netip.AddrPortFrom(centre.cfg.Links[0].Addr, DefaultPeerPort).String()
	for _, path := range []string{pathSync, "/call", "/"} {
		if status, err := post(t, strangerClient(t), base+path, nil); err != nil || status != http.StatusForbidden {
			t.Errorf("%s without a certificate: %d, %v", path, status, err)
		}
	}
	if status, err := post(t, strangerClient(t), base+pathJoin, []byte("rubbish")); err != nil || status != http.StatusBadRequest {
		t.Errorf("a join of rubbish: %d, %v", status, err)
	}
	if status, err := post(t, strangerClient(t), base+pathJoin, make([]byte, maxJoinBody+1)); err != nil || status != http.StatusBadRequest {
		t.Errorf("too big a join: %d, %v", status, err)
	}
	// A node of another mesh, even an authority there, is a stranger.
	w := newWorld(t)
	in := w.m.current()
	foreign := tls.Certificate{Certificate: [][]byte{in.self.der, in.cert.Raw}, PrivateKey: w.m.key.key}
	if status, err := post(t, strangerClient(t, foreign), base+pathSync, nil); err == nil {
		t.Errorf("with a foreign certificate: %d", status)
	}
	if asked {
		t.Error("the owner's handler was called")
	}
}

// A certificate alone does not make another node of a caller, and a node is
// not called where another answers.
func TestCallersKnowWhoAnswers(t *testing.T) {
	hosts := newMesh(t, "centre", "edge")
	centre, edge := hosts[0], hosts[1]
	in := edge.current()
	addr := netip.AddrPortFrom(centre.cfg.Links[0].Addr, DefaultPeerPort)
	_, err := edge.dialAddr(t.Context(), addr, in.self.id)
	wantError(t, err, errCertificate)
	conn, err := edge.dialAddr(t.Context(), addr, centre.Self().ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	_, err = edge.dialPeer(t.Context(), NodeID("0000000000000000000000000000000000000000"))
	wantError(t, err, ErrUnknownNode)
}

// A node that knows nobody's address any more finds the mesh by its seeds.
func TestSeedsAreAskedForRecords(t *testing.T) {
	hosts := newMesh(t, "centre", "edge")
	edge := hosts[1]
	edge.replica.table.reset()
	if err := edge.syncAddr(t.Context(), edge.current().seeds[0]); err != nil {
		t.Fatal(err)
	}
	if _, ok := edge.Node("centre"); !ok {
		t.Error("it does not know the centre")
	}
}

// What a member sends that makes no sense is refused, and breaks nothing.
func TestSyncRefusesNonsense(t *testing.T) {
	hosts := newMesh(t, "centre", "edge")
	id := hosts[0].Self().ID
	for name, req := range map[string]*wire.SyncRequest{
		"too few digests": {Digests: make([]uint64, 3)},
		"too many wants":  {Want: make([]*wire.Ref, syncRefs+1)},
	} {
		for i := range req.GetWant() {
			req.Want[i] = &wire.Ref{Kind: "vpc", Key: "v"}
		}
		if _, err := hosts[1].exchange(t.Context(), PeerURL(id), req); !errors.Is(err, refusalCodes[codeBadRequest]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if status, err := post(t, hosts[1].PeerClient(id), PeerURL(id)+pathSync, []byte("rubbish")); err != nil || status != http.StatusBadRequest {
		t.Errorf("rubbish: %d, %v", status, err)
	}
	if status, err := post(t, hosts[1].PeerClient(id), PeerURL(id)+"/nothing", nil); err != nil || status != http.StatusNotFound {
		t.Errorf("no owner: %d, %v", status, err)
	}
}

// A member whose own record was lost on its way is asked for it, at the address
// that gossip has: there is no other.
func TestAMemberWithoutARecordIsAskedForIt(t *testing.T) {
	hosts := newMesh(t, "centre", "edge-1")
	here, member := hosts[0], hosts[1]
	table := here.replica.table
	table.remove(table.get(ref{KindNode, string(member.id)}))
	eventuallyPolled(t, func() error {
		if table.get(ref{KindNode, string(member.id)}) == nil {
			return errors.New("its record has not come again")
		}
		return nil
	})
}
