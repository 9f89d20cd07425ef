package mesh

import (
	"net/http"

	"go.etcd.io/bbolt"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// serveRenew gives a node of the mesh another certificate that says the same. The
// connection has proved that it has the key, and that it is not evicted.
func (m *Mesh) serveRenew(w http.ResponseWriter, r *http.Request) {
	var req wire.RenewRequest
	if !readMessage(w, r, maxRenewBody, &req) {
		return
	}
	in := m.current()
	if in == nil || in.authority == nil {
		writeRefusal(w, http.StatusServiceUnavailable, "not_authority", ErrNotAuthority)
		return
	}
	c, err := m.caller(r.TLS)
	if err == nil {
		c, err = m.reissue(in.authority, c)
	}
	if err != nil {
		m.log.Warn("refuse to renew a certificate", "from", r.RemoteAddr, "err", err)
		code := codeOf(err)
		if code == "" {
			code, err = codeUnavailable, refusalCodes[codeUnavailable]
		}
		writeRefusal(w, http.StatusForbidden, code, err)
		return
	}
	m.log.Info("renew certificate of a node", "name", c.name, "node", c.id, "expires", c.expires.UTC())
	writeMessage(w, &wire.RenewResponse{Certificate: c.der})
}

// reissue makes a node's certificate anew. A node that has left may have lost its
// name to another.
func (m *Mesh) reissue(a *authority, old *credential) (*credential, error) {
	var c *credential
	err := m.replica.db.Update(func(tx *bbolt.Tx) error {
		if e := m.replica.table.get(ref{KindNode, string(old.id)}); e == nil || e.Deleted {
			if err := m.checkCollisions(tx, a.trustAnchor, &admission{id: old.id, name: old.name}); err != nil {
				return err
			}
		}
		var err error
		if c, err = a.issue(old.key, old.name, old.roles, m.replica.now()); err != nil {
			return err
		}
		return putMember(tx, c)
	})
	return c, err
}

// refresh ends a connection, after the call, whose caller has shown an older
// certificate than it has by now: it makes another, before that one expires.
func (m *Mesh) refresh(w http.ResponseWriter, shown *credential) {
	known := m.replica.table.get(ref{KindNode, string(shown.id)})
	if known != nil && known.credential().begins.After(shown.begins) {
		w.Header().Set("Connection", "close")
	}
}
