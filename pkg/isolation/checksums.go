package isolation

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
)

// sight says whether programs look where a checksum is yet to be written, which
// bpf/checksum.h needs to know.
type sight uint32

const (
	blind sight = iota
	seeing
)

// loadObjects puts programs and maps into the kernel. One that does not let
// programs look at its own memory gets programs that do not.
func (d *Datapath) loadObjects(adopted map[string]*ebpf.Map) (*edgenetObjects, error) {
	objs, err := d.tryObjects(adopted, seeing)
	if err == nil {
		return objs, nil
	}
	objs, again := d.tryObjects(adopted, blind)
	if again != nil {
		// It was something else.
		return nil, err
	}
	d.log.Warn("datapath does not check where senders have their checksums written: rules can be evaded within a VPC", "why", whyBlind(err))
	return objs, nil
}

func (d *Datapath) tryObjects(adopted map[string]*ebpf.Map, s sight) (*edgenetObjects, error) {
	spec, err := d.spec(adopted)
	if err != nil {
		return nil, err
	}
	if err := spec.Variables[edgenetVarSeesChecksums].Set(s); err != nil {
		return nil, fmt.Errorf("set sight of checksums: %w", err)
	}
	kernel := d.cfg.kernelTypes
	switch {
	case s == blind:
		// What asks for the kernel's types is never reached; any do.
		kernel = spec.Types
	case kernel == nil:
		// By default all modules' types would be read, too.
		if kernel, err = btf.LoadKernelSpec(); err != nil {
			return nil, fmt.Errorf("read kernel's types: %w", err)
		}
	}
	var objs edgenetObjects
	options := ebpf.CollectionOptions{MapReplacements: adopted, Programs: ebpf.ProgramOptions{KernelTypes: kernel}}
	if err := spec.LoadAndAssign(&objs, &options); err != nil {
		return nil, fmt.Errorf("load datapath: %w", err)
	}
	return &objs, nil
}

// whyBlind explains what loading programs that see has ended with.
func whyBlind(err error) error {
	if _, missing := btf.LoadKernelSpec(); missing != nil {
		return fmt.Errorf("kernel lacks its type information (CONFIG_DEBUG_INFO_BTF): %w", missing)
	}
	missing := features.HaveProgramHelper(ebpf.SchedCLS, asm.FnProbeReadKernel)
	if errors.Is(missing, ebpf.ErrNotSupported) {
		return fmt.Errorf("kernel does not let programs read its memory, it may be locked down: %w", missing)
	}
	return err
}
