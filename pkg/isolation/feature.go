package isolation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"runtime"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// ErrUnsupported says that this host's kernel lacks something.
var ErrUnsupported = errors.New("not supported by this kernel")

// ProbePrograms says whether this kernel takes the datapath's programs: it is
// given them, and they are let go of again. Nothing that runs is touched.
func ProbePrograms(ctx context.Context) error {
	return inScratch(func() error {
		d, err := Open(ctx, probeConfig())
		if errors.Is(err, ebpf.ErrNotSupported) {
			return fmt.Errorf("%w: %w", ErrUnsupported, err)
		}
		if err != nil {
			return err
		}
		return d.Close()
	})
}

// ProbeChecksums says whether this kernel lets the programs look where senders have
// their checksums written, without which rules can be evaded within a VPC.
func ProbeChecksums() error {
	d := &Datapath{cfg: probeConfig()}
	if err := d.cfg.complete(); err != nil {
		return err
	}
	objs, err := d.tryObjects(nil, seeing)
	if errors.Is(err, fs.ErrPermission) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnsupported, whyBlind(err))
	}
	return objs.Close()
}

// probeConfig is a datapath's of no node, with small tables.
func probeConfig() Config {
	return Config{
		Logger:       slog.New(slog.DiscardHandler),
		MeshPrefix:   netip.MustParsePrefix("fd00::/24"),
		NodePrefix:   netip.MustParsePrefix("fd00::/64"),
		MaxEndpoints: 8, MaxAddresses: 8, MaxFlows: 64, MaxVerdicts: 8,
	}
}

// ProbeTCX says whether this kernel attaches programs by tcx; without, they are
// attached by clsact.
func ProbeTCX() error {
	_, err := tcx{}.query(loopback)
	if errors.Is(err, ebpf.ErrNotSupported) {
		return fmt.Errorf("%w: tcx: %w", ErrUnsupported, err)
	}
	return err
}

// inScratch calls f in a network namespace of its own, where no datapath runs,
// and which is gone afterwards.
func inScratch(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("make a network namespace: %w", err)
			return
		}
		result <- f()
	}()
	return <-result
}
