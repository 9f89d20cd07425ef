package daemon

import (
	"fmt"
	"slices"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
)

// heirTime is how long nodes have to go over to another technology before the driver
// that they are reached by is replaced: those that have not are dead, or could not be
// reached by the other one. It is a multiple of what it takes to move.
const heirTime = time.Minute

// succeed replaces drivers by the other ones of their technology, which need the same
// name, port and key, and so cannot run beside them: as soon as no node is reached by
// one that could be reached otherwise.
func (t *tunnels) succeed(now time.Time) error {
	for i, c := range t.carriers {
		if c.heir == nil || !t.isRipe(now, c) {
			continue
		}
		next, err := c.heir()
		if err == nil {
			err = next.lacking(now)
		}
		if err != nil {
			return fmt.Errorf("replace tunnel driver %s: %w", c.driver.Name(), err)
		}
		c.letGo()
		next.proofs = c.proofs
		// Others may have the list.
		rest := slices.Clone(t.carriers)
		rest[i] = next
		t.mu.Lock()
		t.carriers = rest
		t.mu.Unlock()
		t.log.Info("tunnel driver is replaced", "was", c.driver.Name(), "is", next.driver.Name())
	}
	return nil
}

// isRipe tells whether a carrier can be replaced in this round.
func (t *tunnels) isRipe(now time.Time, c *carrier) bool {
	if c.device.Name == "" {
		return c.down || c.failed || c.lack != nil // and not before it was looked at
	}
	if t.ways == nil || t.state.stale {
		return false
	}
	// A key that is being replaced is one of a device.
	if len(t.ways) > 0 && (t.rotating || c.unsure != nil || c.next != tunnel.PublicKey{}) {
		return false
	}
	if leaves := t.leaves(now); leaves != c.technology {
		return leaves == "" // there is nothing to go over to; else it is one after the other
	}
	return !c.leftSince.IsZero() && (now.Sub(c.leftSince) >= heirTime || !t.movesFrom(c.technology))
}

// movesFrom tells whether there are nodes that go over from a technology to another
// one, and may still send by it.
func (t *tunnels) movesFrom(from tunnel.Technology) bool {
	return slices.ContainsFunc(t.nodes, func(n mesh.Node) bool {
		return t.ways[n.ID].uses(from) && t.state.choices[n.ID].Technology != from
	})
}

// leaves is the technology whose driver is to be replaced while nodes are reached by
// another one, if this host has one; empty if none is.
func (t *tunnels) leaves(now time.Time) tunnel.Technology {
	for _, c := range t.carriers {
		if c.heir != nil && c.device.Name != "" && slices.ContainsFunc(t.carriers, func(other *carrier) bool {
			return other != c && !other.retired && !other.failed && other.lacking(now) == nil
		}) {
			return c.technology
		}
	}
	return ""
}

// leave is leaves, for others to be told: nodes go over from now on.
func (t *tunnels) leave(now time.Time) tunnel.Technology {
	out := t.leaves(now)
	if c := t.carrier(out); c != nil && c.leftSince.IsZero() {
		c.leftSince = now
	}
	return out
}
