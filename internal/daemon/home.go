package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// errNoWay says that the host can encrypt by nothing that it has and may use.
var errNoWay = errors.New("this host has no way to encrypt, and carries no traffic: there is no plaintext")

// bringUpHome brings up the device that is always up: the preferred one of those
// that the host can have. It returns nil if there is none. The error says what went
// wrong besides.
func (t *tunnels) bringUpHome(ctx context.Context, now time.Time) (*carrier, error) {
	var lacks, problems []error
	for _, c := range t.carriers {
		c.failed = false // not those alone that are tried: one that works ends that
	}
	for _, c := range t.carriers {
		if c.retired {
			continue
		}
		if err := c.lacking(now); errors.Is(err, tunnel.ErrUnsupported) {
			lacks = append(lacks, err)
			continue
		}
		err := t.bringUp(ctx, c)
		if err == nil {
			return c, errors.Join(problems...)
		}
		c.failed = true
		problems = append(problems, err)
		if c.device.Name != "" {
			return c, errors.Join(problems...) // nodes are still reached by it
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return nil, t.noWay(lacks)
}

// noWay says what is missing.
func (t *tunnels) noWay(lacks []error) error {
	var words []string
	for _, err := range lacks {
		words = append(words, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if len(t.excluded) > 0 {
		words = append(words, "tunnel-drivers excludes "+strings.Join(t.excluded, ", "))
	}
	return fmt.Errorf("%w: %s", errNoWay, strings.Join(words, "; "))
}

// closeDown is the round of a node that has nothing to encrypt with: others are
// told, and what is left of an earlier one goes. Where something is just broken,
// all stays as it is.
func (t *tunnels) closeDown(ctx context.Context, why error) error {
	if !errors.Is(why, errNoWay) {
		return nil
	}
	t.nodes, t.policy = t.mesh.Nodes(), t.policyVersion()
	return errors.Join(t.announce(time.Now(), why), t.takeAllDown(ctx))
}

// takeAllDown takes all devices away, and what goes with them: after it no node is
// reached by any. A retired one is not made again.
func (t *tunnels) takeAllDown(ctx context.Context) error {
	t.probes.stop()
	t.closeHold()
	t.ways = nil
	var errs []error
	for _, c := range t.carriers {
		errs = append(errs, t.takeDown(ctx, c))
	}
	return errors.Join(errs...)
}

func (t *tunnels) takeDown(ctx context.Context, c *carrier) error {
	if err := c.takeDown(ctx); err != nil {
		return err
	}
	if c.retired {
		// Others may have the list.
		rest := slices.DeleteFunc(slices.Clone(t.carriers), func(other *carrier) bool { return other == c })
		t.mu.Lock()
		t.carriers = rest
		t.mu.Unlock()
		t.log.Info("tunnels were moved from an excluded driver, which is gone", "driver", c.driver.Name())
	}
	return nil
}

// bringUp makes a carrier's device as it follows from the node's identity and its
// links.
func (t *tunnels) bringUp(ctx context.Context, c *carrier) error {
	want := tunnel.Device{
		Name: c.name, ListenPort: c.port, Metric: c.metric, Address: t.mesh.Self().Addr, Mesh: t.mesh.MeshPrefix(),
	}
	var err error
	if want.MTU, err = t.least(c.mtu); err != nil {
		return err
	}
	if c.left, err = t.least(c.room); err != nil {
		return err
	}
	err = c.bringUp(ctx, want)
	c.follow(t.life, func() { poke(t.sized) })
	return err
}

// bringUpRetired adopts, in the first round, what an excluded driver has left.
func (t *tunnels) bringUpRetired(ctx context.Context) error {
	var problems []error
	for _, c := range t.carriers {
		if c.retired && t.ways == nil {
			problems = append(problems, t.bringUp(ctx, c))
		}
	}
	return errors.Join(problems...)
}

// tenantMTU is how large a packet of a tenant's may be in the overlay, for all that
// is known of this host alone: it follows from the underlay and from what this host
// prefers to encrypt with. It does not follow from what peers are reached by:
// endpoints would have to be told, and their connections, whenever a node is moved.
// What the way to one peer takes less is the datapath's to tell.
func (t *tunnels) tenantMTU(now time.Time) (int, error) {
	for _, c := range t.carriers {
		if !c.retired && !errors.Is(c.lacking(now), tunnel.ErrUnsupported) {
			return t.least(c.mtu)
		}
	}
	return 0, errNoWay
}

// least is the least of all links.
func (t *tunnels) least(mtu func(underlay int, remote netip.Addr) int) (int, error) {
	var least int
	for _, l := range t.links {
		link, err := t.underlayMTU(l.Addr)
		if err != nil {
			return 0, fmt.Errorf("read MTU of underlay %s: %w", l.Addr, err)
		}
		if m := mtu(link, l.Addr); least == 0 || m < least {
			least = m
		}
	}
	return least, nil
}
