package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// Limits of the peer API's server.
const (
	// maxPeerConns bounds the connections of one link.
	maxPeerConns = 1024
	// maxSourceConns bounds those of one source: a site behind a NAT has them
	// all, a stranger alone must not.
	maxSourceConns = 256
	// strangerLife is how long a connection of a caller without a certificate
	// lasts: enough for a join.
	strangerLife = 30 * time.Second
	// maxPeerStreams bounds the calls of one connection.
	maxPeerStreams = 64
	// maxPeerBody bounds what is asked of the owner, in bytes.
	maxPeerBody = 4 << 20
	// maxJoins bounds the joins at once: they come from strangers.
	maxJoins          = 16
	peerHeaderTimeout = 10 * time.Second
	peerReadTimeout   = time.Minute
	peerStopTimeout   = time.Second
)

// peerKey is the context key of the calling node.
type peerKey struct{}

// PeerFromContext returns the node that made the call which a PeerHandler
// serves.
func PeerFromContext(ctx context.Context) (Node, bool) {
	n, ok := ctx.Value(peerKey{}).(Node)
	return n, ok
}

// listen opens the peer API's port on all links.
func (m *Mesh) listen(ctx context.Context) ([]net.Listener, error) {
	var out []net.Listener
	for _, l := range m.cfg.Links {
		addr := netip.AddrPortFrom(l.Addr, m.cfg.PeerPort)
		ln, err := m.cfg.Network.Listen(ctx, addr)
		if err != nil {
			closeAll(out)
			return nil, fmt.Errorf("listen for peers on %s: %w", addr, err)
		}
		out = append(out, netutil.LimitListener(limitSources(ln, maxSourceConns), maxPeerConns))
	}
	return out, nil
}

func closeAll(listeners []net.Listener) {
	for _, ln := range listeners {
		_ = ln.Close()
	}
}

// serve serves the peer API until ctx ends.
func (m *Mesh) serve(ctx context.Context, group *errgroup.Group, listeners []net.Listener) {
	var calls underway
	srv := &http.Server{
		Handler:           calls.count(m.peerAPI()),
		TLSConfig:         m.serverTLS(),
		ReadHeaderTimeout: peerHeaderTimeout,
		ReadTimeout:       peerReadTimeout,
		IdleTimeout:       2 * peerIdleTimeout,
		MaxHeaderBytes:    64 << 10,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxPeerStreams},
		ErrorLog:          log.New(serverLog{m.log}, "", 0),
	}
	for _, ln := range listeners {
		group.Go(func() error {
			if err := srv.ServeTLS(ln, "", ""); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve peers on %s: %w", ln.Addr(), err)
			}
			return nil
		})
	}
	group.Go(func() error {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), peerStopTimeout)
		defer cancel()
		return calls.stop(stop, srv)
	})
}

// serverTLS accepts callers with no certificate, who can only join, and with
// one that is trusted.
func (m *Mesh) serverTLS() *tls.Config {
	base := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{"h2", "http/1.1"},
		ClientAuth:             tls.RequestClientCert,
		SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			in := m.current()
			if in == nil {
				return nil, ErrNotInMesh
			}
			c := m.tlsCertificate(in)
			return &c, nil
		},
	}
	outer := base.Clone()
	outer.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		inner := base.Clone()
		inner.VerifyConnection = func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				time.AfterFunc(m.cfg.strangerLife, func() { _ = hello.Conn.Close() })
				return nil
			}
			_, err := m.caller(&state)
			if errors.Is(err, ErrEvicted) { // It is told so, and nothing else.
				time.AfterFunc(m.cfg.strangerLife, func() { _ = hello.Conn.Close() })
				return nil
			}
			return err
		}
		return inner, nil
	}
	return outer
}

// caller returns the node at the other end of a connection.
func (m *Mesh) caller(state *tls.ConnectionState) (*credential, error) {
	in := m.current()
	if in == nil {
		return nil, ErrNotInMesh
	}
	if state == nil || len(state.PeerCertificates) == 0 {
		return nil, fmt.Errorf("%w: none was shown", errCertificate)
	}
	return in.trusts(state.PeerCertificates[0], m.replica.now())
}

// peerAPI is the handler of the peer API's port.
func (m *Mesh) peerAPI() http.Handler {
	joins := make(chan struct{}, maxJoins)
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathJoin, func(w http.ResponseWriter, r *http.Request) { m.serveJoin(w, r, joins) })
	mux.Handle("POST "+pathSync, m.mutual(new(callers).limit(http.HandlerFunc(m.serveSync))))
	mux.Handle("POST "+pathKeys, m.mutual(new(callers).limit(http.HandlerFunc(m.serveKeys))))
	mux.Handle("POST "+pathShare, m.mutual(new(callers).limit(http.HandlerFunc(m.serveShare))))
	mux.Handle("POST "+pathRenew, m.mutual(new(callers).limit(http.HandlerFunc(m.serveRenew))))
	mux.Handle("/", m.mutual(http.MaxBytesHandler(m.ownerHandler(), maxPeerBody)))
	return mux
}

// ownerHandler is what serves the paths that are not the mesh's.
func (m *Mesh) ownerHandler() http.Handler {
	if m.cfg.PeerHandler != nil {
		return m.cfg.PeerHandler
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeRefusal(w, http.StatusNotFound, codeNotServed, refusalCodes[codeNotServed])
	})
}

// mutual lets only nodes of the mesh through, and tells the handler which. It
// looks at every call: trust may end while a connection lives on.
func (m *Mesh) mutual(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.stamp(w)
		c, err := m.caller(r.TLS)
		if errors.Is(err, ErrEvicted) {
			writeRefusal(w, http.StatusForbidden, codeEvicted, err, m.evictionProof(c.id)...)
			return
		}
		if err != nil {
			writeRefusal(w, http.StatusForbidden, "not_trusted", err)
			return
		}
		n, known := m.Node(string(c.id))
		if !known {
			n = Node{State: StateAlive}
		}
		if in := m.current(); in != nil {
			n.certify(in.mesh, c) // What it has just shown counts.
			m.refresh(w, c)
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), peerKey{}, n)))
	})
}

// evictionProof is what shows a node that it was evicted: who says so, and that.
func (m *Mesh) evictionProof(id NodeID) []*wire.Envelope {
	var out []*wire.Envelope
	for _, key := range []string{string(id), string(id) + evictionByMesh} {
		e := m.replica.table.get(ref{KindEviction, key})
		if e == nil {
			continue
		}
		if author := m.replica.table.get(ref{KindNode, string(e.Node)}); author != nil {
			out = append(out, author.envelope())
		}
		out = append(out, e.envelope())
	}
	return out
}

// serverLog takes net/http's log lines: what strangers do wrong is no warning.
type serverLog struct{ log *slog.Logger }

// Write takes one line.
func (l serverLog) Write(line []byte) (int, error) {
	l.log.Debug("peer API", "line", string(line))
	return len(line), nil
}
