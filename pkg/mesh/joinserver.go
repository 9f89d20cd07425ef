package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// maxStartRecords is how many node records a joining node gets at once. It
// learns the others by synchronization.
const maxStartRecords = 32

// channelBinding is what both ends of a TLS connection, and nobody else, know
// of it (RFC 5705).
func channelBinding(state *tls.ConnectionState) ([]byte, error) {
	b, err := state.ExportKeyingMaterial("EXPORTER-edgenet-join-v1", nil, 32)
	if err != nil {
		return nil, fmt.Errorf("bind to TLS channel: %w", err)
	}
	return b, nil
}

// serveJoin is the handler of joins. Its callers are strangers. slots bounds
// those that are answered at once: who is still speaking has none.
func (m *Mesh) serveJoin(w http.ResponseWriter, r *http.Request, slots chan struct{}) {
	var req wire.JoinRequest
	if !readMessage(w, r, maxJoinBody, &req) {
		return
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	default:
		writeRefusal(w, http.StatusTooManyRequests, "too_many_calls", errTooManyCalls)
		return
	}
	answer, c, err := m.answerJoin(r.Context(), r.TLS, &req)
	if err == nil {
		m.log.Info("admit node", "name", c.name, "node", c.id, "roles", c.roles, "from", r.RemoteAddr)
		if in := m.current(); in != nil && m.cfg.Admitted != nil {
			n := Node{State: StateAlive}
			n.certify(in.mesh, c)
			m.cfg.Admitted(n, r.RemoteAddr)
		}
		writeMessage(w, answer)
		return
	}
	level := slog.LevelWarn
	if errors.Is(err, ErrTokenUnknown) || errors.Is(err, errRequest) {
		level = slog.LevelDebug // Who has no token must not be able to fill the log.
	}
	m.log.Log(r.Context(), level, "refuse a node", "from", r.RemoteAddr, "err", err)
	if code := codeOf(err); code != "" {
		writeRefusal(w, http.StatusForbidden, code, err)
		return
	}
	// Nothing of what goes wrong in here is a stranger's business.
	writeRefusal(w, http.StatusInternalServerError, codeUnavailable, refusalCodes[codeUnavailable])
}

// answerJoin admits a node.
func (m *Mesh) answerJoin(ctx context.Context, state *tls.ConnectionState, req *wire.JoinRequest) (*wire.JoinResponse, *credential, error) {
	in := m.current()
	if in == nil {
		return nil, nil, ErrNotInMesh
	}
	if in.authority == nil {
		return nil, nil, ErrNotAuthority
	}
	ask, err := parseRequest(req.GetRequest())
	if err != nil {
		return nil, nil, err
	}
	ask.tokenID, ask.proof = req.GetTokenId(), req.GetProof()
	if ask.channel, err = channelBinding(state); err != nil {
		return nil, nil, err
	}
	// Another authority may have made the token, or admitted somebody with it just now.
	m.share(ctx, ask.tokenID)
	c, err := m.admitNode(in.authority, ask)
	if err != nil {
		return nil, nil, err
	}
	m.shareSoon()
	answer := &wire.JoinResponse{
		Authority: in.cert.Raw, Certificate: c.der, GossipKeys: in.keys.offer(m.cfg.now()),
	}
	answer.Records = m.startRecords()
	return answer, c, nil
}

// startRecords returns the node records that a new node starts with, this
// node's first.
func (m *Mesh) startRecords() []*wire.Envelope {
	var out []*wire.Envelope
	if e := m.replica.table.get(ref{KindNode, string(m.id)}); e != nil {
		out = append(out, e.envelope())
	}
	for _, n := range m.Nodes() {
		if len(out) == maxStartRecords {
			break
		}
		if e := m.replica.table.get(ref{KindNode, string(n.ID)}); !n.Local && n.State == StateAlive && e != nil {
			out = append(out, e.envelope())
		}
	}
	return out
}
