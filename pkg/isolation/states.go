package isolation

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/vishvananda/netlink"
)

// ProbeStates says whether this kernel tells programs which of IPsec's states a
// packet came out of. Without, an xfrm interface is no tunnel: one peer could
// speak for another.
func ProbeStates() error {
	err := features.HaveProgramHelper(ebpf.SchedCLS, asm.FnSkbGetXfrmState)
	if errors.Is(err, ebpf.ErrNotSupported) {
		return fmt.Errorf("%w: programs do not see IPsec's states (CONFIG_XFRM): %w", ErrUnsupported, err)
	}
	if err != nil {
		return fmt.Errorf("probe for IPsec's states: %w", err)
	}
	return nil
}

// seesStates is what bpf/ipsec.h needs to know: whether the helper is there.
func seesStates() uint32 {
	if errors.Is(ProbeStates(), ErrUnsupported) {
		return 0
	}
	return 1 // or loading says what is wrong
}

// guard has packets from the xfrm interface, if one is a tunnel, compared with
// their states before any of them comes from it.
func (d *Datapath) guard(want *State, links linkTable) error {
	var guarded uint32
	for _, name := range want.Tunnels {
		x, is := links.byName[name].(*netlink.Xfrmi)
		switch {
		case !is:
		case guarded != 0:
			return fmt.Errorf("tunnel device %s is an xfrm interface, and not the only one", name)
		default:
			guarded = uint32(x.Index)
		}
	}
	if guarded != 0 {
		if err := ProbeStates(); err != nil {
			return err
		}
	}
	atomic.StoreUint32(&d.tables.state.XfrmIfindex, guarded)
	return nil
}
