package ipsec

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
)

// statesOf lists the states of an if_id.
func statesOf(ifID uint32) ([]netlink.XfrmState, error) {
	all, err := netlink.XfrmStateList(netlink.FAMILY_ALL)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, nil // no XFRM in this kernel
	}
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list states: %w", err)
	}
	var out []netlink.XfrmState
	for _, s := range all {
		if uint32(s.Ifid) == ifID {
			out = append(out, s)
		}
	}
	return out, nil
}

func policiesOf(ifID uint32) ([]netlink.XfrmPolicy, error) {
	all, err := netlink.XfrmPolicyList(netlink.FAMILY_ALL)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, nil
	}
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list policies: %w", err)
	}
	var out []netlink.XfrmPolicy
	for _, p := range all {
		if uint32(p.Ifid) == ifID {
			out = append(out, p)
		}
	}
	return out, nil
}

func deleteState(s netlink.XfrmState) error {
	if err := netlink.XfrmStateDel(&s); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("delete state %08x: %w", uint32(s.Spi), err)
	}
	return nil
}

func deletePolicy(p netlink.XfrmPolicy) error {
	if err := netlink.XfrmPolicyDel(&p); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delete policy to %s: %w", p.Dst, err)
	}
	return nil
}

// remotePrefix is the peer's side of a policy.
func remotePrefix(p netlink.XfrmPolicy) netip.Prefix {
	n := p.Src
	if p.Dir == netlink.XFRM_DIR_OUT {
		n = p.Dst
	}
	return device.PrefixOf(n)
}

// requestIDsOf returns those that the kernel's policies have, by the peer's
// prefix.
func requestIDsOf(ifID uint32) (map[netip.Prefix]uint32, error) {
	policies, err := policiesOf(ifID)
	if err != nil {
		return nil, err
	}
	out := make(map[netip.Prefix]uint32)
	for _, p := range policies {
		if len(p.Tmpls) > 0 {
			out[remotePrefix(p)] = uint32(p.Tmpls[0].Reqid)
		}
	}
	return out, nil
}

// compareKernel removes what an earlier charon left when it is of no more use,
// and ends SAs that charon believes in and the kernel has not: they were flushed
// by others, and the next Put makes new ones.
func (d *driver) compareKernel(ctx context.Context, s *snapshot) error {
	states, err := statesOf(d.ifID)
	if err != nil {
		return err
	}
	policies, err := policiesOf(d.ifID)
	if err != nil {
		return err
	}
	began, err := os.Stat(socketPath(d.dir)) // which charon makes when it starts
	if err != nil {
		return fmt.Errorf("find charon's age: %w", err)
	}
	k := newKernelView(s, states, policies, began.ModTime())
	if len(k.lost) > 0 {
		if err := d.endLost(ctx, s, k, states, policies); err != nil {
			return err
		}
	}
	s.count(states)
	if d.hasPut() {
		k.orphans = append(k.orphans, k.deserted...)
		if err := d.removeStale(s, policies); err != nil {
			return err
		}
	}
	for _, st := range k.orphans {
		d.log.Info("state of an earlier charon is removed", "device", d.device.Name, "spi", fmt.Sprintf("%08x", uint32(st.Spi)))
		if err := deleteState(st); err != nil {
			return err
		}
	}
	return nil
}

// hasPut tells whether all peers have been put at this charon: an earlier daemon may
// have died between its start and that.
func (d *driver) hasPut() bool { return d.now().Sub(d.met) >= freshAge }

// endLost ends those SAs that charon still believes in after the kernel was
// listed: others were replaced between the one list and the other.
func (d *driver) endLost(ctx context.Context, s *snapshot, k kernelView, states []netlink.XfrmState, policies []netlink.XfrmPolicy) error {
	now, err := d.read(ctx)
	if err != nil {
		return err
	}
	still := newKernelView(now, states, policies, time.Time{}).lost
	*s, d.seen = *now, s
	for spi, sa := range k.lost {
		if still[spi] != sa {
			continue
		}
		d.log.Warn("SAs have vanished from the kernel; others are made", "device", d.device.Name, "prefix", s.conns[sa.peer].prefix)
		what := map[string]string{"ike-id": fmt.Sprint(sa.ike), "force": "yes", "timeout": terminateTimeout}
		if err := d.terminate(ctx, what); err != nil {
			return err
		}
		delete(s.sas, sa.peer)
		delete(d.served, sa.peer) // it has been said
		delete(d.tried, sa.peer)
	}
	return nil
}

// kernelView is how charon's SAs and the kernel's differ.
type kernelView struct {
	// lost are children whose states or policies are missing, by their inbound SPI.
	lost map[uint32]lostSA
	// orphans are states of an earlier charon that newer ones have replaced;
	// deserted are those of no SA at all, which serve until their peer has one.
	orphans, deserted []netlink.XfrmState
}

// lostSA is whose a lost child was.
type lostSA struct {
	peer tunnel.PublicKey
	ike  uint32
}

// newKernelView compares with a charon that began at the given time: what is
// younger is its own, though it may not speak of it yet.
func newKernelView(s *snapshot, states []netlink.XfrmState, policies []netlink.XfrmPolicy, began time.Time) kernelView {
	k := kernelView{lost: make(map[uint32]lostSA)}
	there := make(map[uint32]bool)
	for _, st := range states {
		there[uint32(st.Spi)] = true
	}
	directions := make(map[netip.Prefix]map[netlink.Dir]bool)
	for _, p := range policies {
		prefix := remotePrefix(p)
		if directions[prefix] == nil {
			directions[prefix] = make(map[netlink.Dir]bool)
		}
		directions[prefix][p.Dir] = true
	}
	known, served := make(map[uint32]bool), make(map[uint32]bool)
	for key, sas := range s.sas {
		for _, sa := range sas {
			for _, c := range sa.children {
				known[c.spiIn], known[c.spiOut] = true, true
			}
			c := sa.newest()
			if c == nil {
				continue
			}
			served[c.reqID] = true
			ways := directions[s.conns[key].prefix]
			whole := there[c.spiIn] && there[c.spiOut] && ways[netlink.XFRM_DIR_IN] && ways[netlink.XFRM_DIR_OUT]
			if c.state == "INSTALLED" && sa.lasts() && !whole {
				k.lost[c.spiIn] = lostSA{peer: key, ike: sa.id}
			}
		}
	}
	for _, st := range states {
		switch {
		case known[uint32(st.Spi)] || int64(st.Statistics.AddTime) >= began.Unix():
		case served[uint32(st.Reqid)]:
			k.orphans = append(k.orphans, st)
		default:
			k.deserted = append(k.deserted, st)
		}
	}
	return k
}
