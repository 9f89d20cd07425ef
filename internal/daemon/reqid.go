package daemon

import (
	"context"
	"errors"
	"net/netip"

	"edgenet.dev/edgenet/pkg/mesh"
)

// reqID is by what the datapath knows a node's packets that come by the kernel's
// IPsec. They may by whichever tunnel packets to the node go: while it is moved, it
// still sends by what was left. Of a device that was not looked at this time it is
// what it was.
func (t *tunnels) reqID(id mesh.NodeID, prefix netip.Prefix) uint32 {
	var before uint32
	for _, c := range t.carriers {
		if p := c.peers[prefix]; p.ReqID != 0 {
			return p.ReqID
		}
		if c.peers == nil && !c.down {
			before = t.state.peers[id].reqID
		}
	}
	return before
}

// identify lists the peers of drivers again that got new ones: the datapath has to
// know by what request id before the first packet comes.
func (t *tunnels) identify(ctx context.Context) error {
	var problems []error
	for _, c := range t.carriers {
		if c.added && c.peers != nil {
			problems = append(problems, c.list(ctx))
		}
		c.added = false
	}
	return errors.Join(problems...)
}
