package ipsec

import (
	"context"
	"fmt"
	"math"

	"github.com/strongswan/govici/vici"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
)

const (
	// boundLatency is how long a packet waits in the TUN's queue at most, in
	// milliseconds.
	boundLatency = 20
	// boundBurst is what passes at once, in bytes.
	boundBurst = 64 << 10
	// minUnit is what a packet counts as at least, in bytes: charon's work is by
	// the packet.
	minUnit = 512
	// ticksPerMicrosecond is the unit of a burst: of 64 ns, as the kernel says in
	// /proc/net/psched since 2.6.31.
	ticksPerMicrosecond = 15.625
)

// What charon may hold, in bytes. It needs some 2 MiB and a few KiB for each peer;
// the rest is packets that wait in its queue.
const (
	muchMemory   = 32 << 20
	littleMemory = 16 << 20
	// firstShare of the configured rate is what is begun with, leastShare what is
	// left to a slow host.
	firstShare = 5
	leastShare = 100
)

// ensureBound puts a token bucket in front of charon, whose own queue has no
// bound: a flood would make it grow until the host has no memory. How much
// charon can encrypt depends on the host and on what else runs there, so the
// rate follows from what has gathered in charon.
func (d *driver) ensureBound(ctx context.Context, link netlink.Link, mended *device.Mended) error {
	used, err := d.memory(ctx)
	if err != nil {
		return fmt.Errorf("read charon's memory: %w", err)
	}
	have, err := boundOf(link)
	if err != nil {
		return err
	}
	limits := have.waited > d.waited && d.waited > 0
	d.waited = have.waited
	want := nextRate(have.rate, d.cfg.Rate/8, used, limits)
	if want == have.rate && have.limit == limitOf(want) {
		return nil
	}
	if have.rate == 0 {
		mended.Note("its queue had no bound")
	}
	if want < have.rate {
		d.log.Info("charon cannot keep up: its device is slowed down", "memory", used, "bits_per_second", want*8)
	}
	if err := replaceTBF(link, want, limitOf(want)); err != nil {
		return fmt.Errorf("bound the device's queue: %w", err)
	}
	return nil
}

// nextRate returns how much may pass from now on, in bytes per second, after
// have, which is 0 for a new device. It grows only while it limits: what a host
// can do shows under load alone.
func nextRate(have, most, used uint64, limits bool) uint64 {
	switch {
	case have == 0:
		return most / firstShare
	case used > muchMemory:
		return min(max(have/2, most/leastShare), most)
	case used < littleMemory && limits:
		return min(have+have/4, most)
	}
	return min(have, most)
}

// memory returns what charon has allocated, in bytes.
func (d *driver) memory(ctx context.Context) (used uint64, err error) {
	err = d.talk(ctx, func(s *vici.Session) error {
		m, err := s.CommandRequest("stats", nil)
		if err == nil {
			used = number(section(m, "mallinfo"), "used")
		}
		return err
	})
	return used, err
}

// bound is a device's token bucket; it is zero when there is none.
type bound struct {
	rate  uint64 // bytes per second
	limit uint32 // bytes
	// waited is how often it had to stop packets.
	waited uint32
}

func boundOf(link netlink.Link) (bound, error) {
	have, err := netlink.QdiscList(link)
	if err != nil {
		return bound{}, fmt.Errorf("list queues: %w", err)
	}
	for _, q := range have {
		tbf, ok := q.(*netlink.Tbf)
		if !ok || tbf.Parent != netlink.HANDLE_ROOT {
			continue
		}
		b := bound{rate: tbf.Rate, limit: tbf.Limit}
		if st := tbf.Statistics; st != nil && st.Queue != nil {
			b.waited = st.Queue.Overlimits
		}
		return b, nil
	}
	return bound{}, nil
}

// limitOf is how much waits for its turn at most, in bytes.
func limitOf(rate uint64) uint32 { return uint32(rate*boundLatency/1000 + boundBurst) }

// replaceTBF is netlink.QdiscReplace for a tbf with a least unit, which that
// does not know.
func replaceTBF(link netlink.Link, bytes uint64, limit uint32) error {
	if bytes == 0 || bytes > math.MaxUint32 {
		return fmt.Errorf("%w: a rate of %d bytes per second", tunnel.ErrUnsupported, bytes)
	}
	opt := nl.TcTbfQopt{
		Rate:   nl.TcRateSpec{Linklayer: nl.LINKLAYER_ETHERNET, Mpu: minUnit, Rate: uint32(bytes)},
		Limit:  limit,
		Buffer: uint32(float64(boundBurst) / float64(bytes) * 1e6 * ticksPerMicrosecond),
	}
	req := nl.NewNetlinkRequest(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_REPLACE|unix.NLM_F_ACK)
	req.AddData(&nl.TcMsg{
		Family: nl.FAMILY_ALL, Ifindex: int32(link.Attrs().Index),
		Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT,
	})
	req.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("tbf")))
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_TBF_PARMS, opt.Serialize())
	options.AddRtAttr(nl.TCA_TBF_BURST, nl.Uint32Attr(boundBurst))
	req.AddData(options)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}
