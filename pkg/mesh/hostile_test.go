package mesh

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// tlsServer serves as somebody who has this certificate.
func tlsServer(t *testing.T, cert tls.Certificate, h http.Handler) netip.AddrPort {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return netip.MustParseAddrPort(srv.Listener.Addr().String())
}

// A node that answers with a redirection must not make others send records, or
// anything, to where it likes.
func TestRedirectionsAreNotFollowed(t *testing.T) {
	hosts := newMesh(t, "centre", "edge")
	var hits atomic.Int32
	victim := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer victim.Close()
	addr := tlsServer(t, hosts[1].tlsCertificate(hosts[1].current()), http.RedirectHandler(victim.URL, http.StatusTemporaryRedirect))
	if err := hosts[0].syncAddr(t.Context(), addr); err == nil {
		t.Error("a redirection is taken for an answer")
	}
	if hits.Load() != 0 {
		t.Error("the redirection was followed")
	}
}

// One address of a token that leads to somebody else does not keep a node from
// joining over the others.
func TestAnImpostorAtOneSeedDoesNotPreventAJoin(t *testing.T) {
	centre := newAuthorityHost(t)
	w := newWorld(t)
	impostor := tlsServer(t, w.m.tlsCertificate(w.m.current()), http.NotFoundHandler())
	tok, err := parseToken(centre.token(TokenRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	tok.seeds = append([]netip.AddrPort{impostor}, tok.seeds...)
	text, err := tok.format()
	if err != nil {
		t.Fatal(err)
	}
	if err := newHost(t, "edge").Join(t.Context(), text); err != nil {
		t.Error(err)
	}
}

// Strangers who ask to join and do not finish their sentence do not keep
// others out.
func TestUnfinishedJoinsKeepNobodyOut(t *testing.T) {
	centre := newAuthorityHost(t)
	addr := netip.AddrPortFrom(centre.cfg.Links[0].Addr, DefaultPeerPort).String()
	for range maxJoins {
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		head := "POST " + pathJoin + " HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
		if _, err := conn.Write([]byte(head)); err != nil {
			t.Fatal(err)
		}
		// The handler reads the body when it says that it may be sent.
		if _, err := conn.Read(make([]byte, 64)); err != nil {
			t.Fatal(err)
		}
	}
	if err := newHost(t, "edge").Join(t.Context(), centre.token(TokenRequest{})); err != nil {
		t.Error(err)
	}
}

// Strangers cannot hold on to connections: one that has no certificate ends
// soon, whatever it does.
func TestStrangersConnectionsEnd(t *testing.T) {
	centre := newAuthorityHost(t, func(c *Config) { c.strangerLife = 200 * time.Millisecond })
	addr := net.JoinHostPort(centre.cfg.Links[0].Addr.String(), strconv.Itoa(DefaultPeerPort))
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = conn.Read(make([]byte, 4096))
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("the connection lives on")
	}
}

// What a node says of itself is shown to people.
func TestTextThatCannotBeShownIsRefused(t *testing.T) {
	w := newWorld(t)
	edge := w.admit(w.ca, "edge", RoleEdge)
	for _, info := range []*nodeInfo{
		{name: "edge", links: []Link{{Addr: loopback(), Carrier: "\x1b[2J"}}, gossipPort: 1, peerPort: 2},
		{name: "edge", links: []Link{{Addr: loopback()}}, gossipPort: 1, peerPort: 2, version: "1\n2"},
	} {
		b, err := info.encode()
		if err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(time.Second)
		rec := Record{Kind: KindNode, Key: string(edge.cred.id), Payload: b}
		if n, why := w.told(w.signed(edge, rec)); n != 0 || strings.Join(why, "") != refusedPayload {
			t.Errorf("%d news, refusals %v", n, why)
		}
	}
}

// One source cannot take all of the connections, and gets its own back.
func TestConnectionsOfOneSourceAreLimited(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limited := limitSources(ln, 1)
	defer func() { _ = limited.Close() }()
	dial := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	accepted := make(chan net.Conn)
	go func() {
		for range 2 {
			conn, err := limited.Accept()
			if err != nil {
				t.Error(err)
			}
			accepted <- conn
		}
	}()
	dial()
	first := <-accepted
	if _, err := dial().Read(make([]byte, 1)); err == nil {
		t.Error("a second connection is served")
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	dial()
	if err := (<-accepted).Close(); err != nil {
		t.Error(err)
	}
}

// Who has no token cannot fill the log of an authority.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	var out lockedText
	centre := newAuthorityHost(t, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo}))
	})
	tok, err := parseToken(centre.token(TokenRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	tok.secret.bytes[0] ^= 1
	text, err := tok.format()
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, newHost(t, "edge").Join(t.Context(), text), ErrTokenUnknown)
	if said := out.String(); strings.Contains(said, "refuse") {
		t.Errorf("the log says %s", said)
	}
}

// lockedText is a text that several goroutines write.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
