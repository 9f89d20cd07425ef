package mesh

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// Self returns this node. In no mesh it has an id, a name and links only.
func (m *Mesh) Self() Node {
	in := m.current()
	if in != nil {
		if e := m.replica.table.get(ref{KindNode, string(m.id)}); e != nil {
			return m.nodeOf(in, e)
		}
	}
	n := Node{
		ID: m.id, Name: m.cfg.Name, Links: slices.Clone(m.cfg.Links),
		Version: m.cfg.Version, State: StateAlive, Local: true,
	}
	if in != nil {
		n.certify(in.mesh, in.self)
	}
	return n
}

// Nodes returns every node of the mesh, by name, those that have left or were
// evicted for a day after.
func (m *Mesh) Nodes() []Node {
	in := m.current()
	if in == nil {
		return nil
	}
	var nodes []Node
	for _, e := range m.replica.table.ofKind(KindNode) {
		nodes = append(nodes, m.nodeOf(in, e))
	}
	for id, one := range in.evictions.all() {
		if m.cfg.now().Sub(one.at) < tombstoneLife && m.replica.table.get(ref{KindNode, string(id)}) == nil {
			nodes = append(nodes, one.node(in.mesh, id))
		}
	}
	slices.SortFunc(nodes, func(a, b Node) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return nodes
}

// Node returns a node by its id or name. Of several of one name it is the one
// that has not left, and of those the one that got the name last: the
// authority gave it when it was free, whatever the others still say. One that was
// evicted is found if there is no other.
func (m *Mesh) Node(nameOrID string) (Node, bool) {
	in := m.current()
	if in == nil {
		return Node{}, false
	}
	if e := m.replica.table.get(ref{KindNode, nameOrID}); e != nil {
		return m.nodeOf(in, e), true
	}
	es := m.replica.table.entries(func(e *entry) bool {
		return e.Kind == KindNode && e.credential().name == nameOrID
	})
	if len(es) == 0 {
		return m.evictedNode(in, nameOrID)
	}
	best := slices.MaxFunc(es, func(a, b *entry) int {
		if a.Deleted != b.Deleted && b.Deleted {
			return 1
		}
		if a.Deleted != b.Deleted {
			return -1
		}
		return cmp.Or(a.credential().begins.Compare(b.credential().begins), cmp.Compare(a.Version, b.Version))
	})
	return m.nodeOf(in, best), true
}

// Admitted is Node, but that the node with the mesh's key also finds those that it
// let in and that were forgotten since, dead for long: their certificates may be
// good for months yet. Of several of one name it is the one whose certificate ends last.
func (m *Mesh) Admitted(nameOrID string) (Node, bool) {
	n, known := m.Node(nameOrID)
	in := m.current()
	if known || in == nil || in.authority == nil {
		return n, known
	}
	err := m.replica.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketMembers).ForEach(func(k, v []byte) error {
			var member wire.Member
			if err := proto.Unmarshal(v, &member); err != nil {
				return fmt.Errorf("decode member %q: %w", k, err)
			}
			if string(k) != nameOrID && member.GetName() != nameOrID {
				return nil
			}
			c, err := parseCertificate(member.GetCertificate(), in.mesh)
			if err == nil && (!known || c.expires.After(n.CertificateExpires)) {
				n, known = Node{State: StateDead}, true
				n.certify(in.mesh, c)
			}
			return err
		})
	})
	if err != nil {
		m.log.Warn("look for an admitted node", "node", nameOrID, "err", err)
	}
	return n, known
}

// evictedNode returns the node of that id or name that was evicted last.
func (m *Mesh) evictedNode(in *member, nameOrID string) (Node, bool) {
	var found NodeID
	all := in.evictions.all()
	for id, one := range all {
		if (string(id) == nameOrID || one.name == nameOrID) && (found == "" || one.at.After(all[found].at)) {
			found = id
		}
	}
	if found == "" {
		return Node{}, false
	}
	return all[found].node(in.mesh, found), true
}

// Authorities returns the nodes that may sign for the whole mesh, those alive
// first, then by name.
func (m *Mesh) Authorities() []Node {
	nodes := slices.DeleteFunc(m.Nodes(), func(n Node) bool {
		return n.State.Gone() || !slices.Contains(n.Roles, RoleAuthority)
	})
	slices.SortStableFunc(nodes, func(a, b Node) int { return cmp.Compare(a.rank(), b.rank()) })
	return nodes
}

// rank orders nodes by how likely they answer.
func (n Node) rank() int {
	switch n.State {
	case StateAlive:
		return 0
	case StateSuspect:
		return 1
	case StateDead, StateLeft, StateEvicted, StateExpired:
		return 2
	default:
		return 2
	}
}

// certify fills in what a certificate says.
func (n *Node) certify(mesh ID, c *credential) {
	n.ID, n.Name, n.Roles = c.id, c.name, slices.Clone(c.roles)
	n.Prefix, n.Addr = c.id.Prefix(mesh), c.id.Addr(mesh)
	n.PublicKey, n.CertificateBegins, n.CertificateExpires = c.key, c.begins.Add(clockTolerance), c.expires
}

// nodeOf makes a Node of its record.
func (m *Mesh) nodeOf(in *member, e *entry) Node {
	n := Node{State: StateLeft, Local: e.Node == m.id}
	n.certify(in.mesh, e.credential())
	if e.info() == nil {
		return n
	}
	n.Links, n.Version = slices.Clone(e.info().links), e.info().version
	n.Announcement = slices.Clone(e.info().announcement)
	n.State = StateDead
	if n.Local {
		n.State = StateAlive
		switch {
		case in.evictions.refuse(in.self):
			n.State = StateEvicted
		case in.self.endedAt(m.replica.now()):
			n.State = StateExpired
		}
		return n
	}
	if e.credential().endedAt(m.replica.now()) {
		n.State = StateExpired
		return n
	}
	m.mu.RLock()
	s := m.session
	m.mu.RUnlock()
	if s != nil {
		n.State = s.members.state(n.ID)
		n.Since = s.members.standings.see(n.ID, n.State, time.Now())
	}
	return n
}
