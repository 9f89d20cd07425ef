package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// Limits of calls to peers.
const (
	dialTimeout     = 5 * time.Second
	peerIdleTimeout = 90 * time.Second
)

// PeerURL is the base of the URLs of a node's peer API, for the client that
// PeerClient returns. Its host is the node's id.
func PeerURL(id NodeID) string { return "https://" + string(id) }

// peerOf is the node whose peer API a URL is the base of, "" if it names none.
func peerOf(base string) NodeID {
	id := NodeID(strings.TrimPrefix(base, "https://"))
	if !id.Valid() {
		return ""
	}
	return id
}

// PeerClient returns a client that reaches one node, by URLs that begin with
// PeerURL(id), over any of its links, with mutual TLS. It verifies that the
// other side is that very node. Requests to elsewhere fail.
func (m *Mesh) PeerClient(id NodeID) *http.Client {
	return &http.Client{
		Transport:     onlyHost{host: string(id), next: m.peers, trusted: func() bool { return !m.evicts(id) }},
		CheckRedirect: stay,
	}
}

// stay follows no redirection: whoever answers does not say where our requests
// go.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// onlyHost lets requests to one host through.
type onlyHost struct {
	host string
	next http.RoundTripper
	// trusted looks at every call: trust may end while a connection lives on.
	trusted func() bool
}

// RoundTrip does one request.
func (o onlyHost) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || r.URL.Host != o.host {
		return nil, fmt.Errorf("call peer %s: the request is for %s", o.host, r.URL.Host)
	}
	if !o.trusted() {
		return nil, fmt.Errorf("call peer %s: %w", o.host, ErrEvicted)
	}
	return o.next.RoundTrip(r)
}

// newPeerTransport makes the transport of all calls to peers. The host of a URL
// is a node's id, or the address of a seed.
func (m *Mesh) newPeerTransport() *http.Transport {
	return &http.Transport{
		DialTLSContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, fmt.Errorf("dial peer %q: %w", addr, err)
			}
			if id := NodeID(host); id.Valid() {
				return m.dialPeer(ctx, id)
			}
			seed, err := netip.ParseAddrPort(addr)
			if err != nil {
				return nil, fmt.Errorf("dial peer: %w", err)
			}
			return m.dialAddr(ctx, seed, "")
		},
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        peerIdleTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
	}
}

// dialPeer opens a connection to a node, over the first of its links that
// answers.
func (m *Mesh) dialPeer(ctx context.Context, id NodeID) (net.Conn, error) {
	addrs := m.peerAddrs(id)
	if len(addrs) == 0 {
		return nil, fmt.Errorf("dial peer %s: %w", id, ErrUnknownNode)
	}
	var errs []error
	for _, a := range addrs {
		conn, err := m.dialAddr(ctx, a, id)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// dialAddr opens a connection to an address, to the node want, or to any node
// of the mesh if that is "".
func (m *Mesh) dialAddr(ctx context.Context, addr netip.AddrPort, want NodeID) (net.Conn, error) {
	in := m.current()
	if in == nil {
		return nil, ErrNotInMesh
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := m.dialTLS(ctx, addr, m.clientTLS(in, want))
	if err != nil {
		return nil, fmt.Errorf("dial peer %s: %w", addr, err)
	}
	return conn, nil
}

// dialTLS opens a TLS connection to an address. ctx bounds the attempt, not the
// connection.
func (m *Mesh) dialTLS(ctx context.Context, addr netip.AddrPort, cfg *tls.Config) (*tls.Conn, error) {
	plain, err := m.cfg.Network.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(plain, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = plain.Close()
		return nil, err
	}
	return conn, nil
}

// clientTLS is how this node presents itself, and whom it accepts.
func (m *Mesh) clientTLS(in *member, want NodeID) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"h2", "http/1.1"},
		Certificates: []tls.Certificate{m.tlsCertificate(in)},
		// The names in our certificates are not those of web servers:
		// VerifyConnection does all of the verification.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return errCertificate
			}
			c, err := in.trusts(state.PeerCertificates[0], m.replica.now())
			if err != nil {
				return err
			}
			if want != "" && c.id != want {
				return fmt.Errorf("%w: it is that of %s, not of %s", errCertificate, c.id, want)
			}
			return nil
		},
	}
}

// tlsCertificate is this node's certificate with the authority's, which a
// joining node needs to see.
func (m *Mesh) tlsCertificate(in *member) tls.Certificate {
	return tls.Certificate{
		Certificate: [][]byte{in.self.der, in.cert.Raw},
		PrivateKey:  m.key.key,
	}
}

// syncAddr synchronizes with whatever node of the mesh is at an address.
func (m *Mesh) syncAddr(ctx context.Context, addr netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	_, err := m.syncAll(ctx, "https://"+addr.String())
	return err
}
