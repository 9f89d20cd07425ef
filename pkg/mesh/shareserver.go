package mesh

import (
	"net/http"
	"slices"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// serveShare gives another authority the mesh's key and the tokens, and takes those
// that it has. Nobody else gets anything.
func (m *Mesh) serveShare(w http.ResponseWriter, r *http.Request) {
	caller, _ := PeerFromContext(r.Context())
	if !slices.Contains(caller.Roles, RoleAuthority) {
		m.log.Warn("a node that is no authority asks for the mesh's key", "name", caller.Name, "node", caller.ID)
		writeRefusal(w, http.StatusForbidden, codeNotServed, refusalCodes[codeNotServed])
		return
	}
	var req wire.ShareRequest
	if !readMessage(w, r, maxShareBody, &req) {
		return
	}
	in := m.current()
	if in == nil || in.authority == nil {
		writeRefusal(w, http.StatusServiceUnavailable, "not_authority", ErrNotAuthority)
		return
	}
	answer := &wire.ShareResponse{Key: in.authority.key.key.Seed()}
	err := m.replica.db.mergeTokens(req.GetTokens(), m.cfg.now())
	if err == nil {
		answer.Tokens, err = m.replica.db.sharedTokens(req.GetTokenId(), m.cfg.now())
	}
	if err != nil {
		m.log.Warn("exchange with an authority", "name", caller.Name, "err", err)
		writeRefusal(w, http.StatusServiceUnavailable, codeUnavailable, refusalCodes[codeUnavailable])
		return
	}
	writeMessage(w, answer)
}
