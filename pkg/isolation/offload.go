package isolation

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"github.com/safchain/ethtool"
	"golang.org/x/sys/unix"
)

// udpSegmentation is the offload that is turned off in containers.
const udpSegmentation = "tx-udp-segmentation"

// segmentUDPEarly has a container's own stack cut large UDP packets into
// segments, on a thread in the container's namespace. The datapath could carry
// them whole, but only past packets that come after them: see TRANSLATED in
// bpf/route.h.
func segmentUDPEarly(ifname string) error {
	bit, err := featureBit(ifname)
	if err != nil || bit.blocks == 0 {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := setFeature(fd, ifname, bit); err != nil {
		return fmt.Errorf("turn off %s of %s: %w", udpSegmentation, ifname, err)
	}
	return nil
}

// feature is where the kernel keeps one offload: a bit of so many words.
type feature struct{ bit, blocks uint }

var knownFeature struct {
	sync.Mutex
	feature
}

// featureBit asks the kernel once: the place is the same for all devices. A
// kernel without the offload has no blocks of it.
func featureBit(ifname string) (feature, error) {
	knownFeature.Lock()
	defer knownFeature.Unlock()
	if knownFeature.blocks != 0 {
		return knownFeature.feature, nil
	}
	tool, err := ethtool.NewEthtool()
	if err != nil {
		return feature{}, fmt.Errorf("open ethtool: %w", err)
	}
	defer tool.Close()
	names, err := tool.FeatureNames(ifname)
	if err != nil {
		return feature{}, fmt.Errorf("read features of %s: %w", ifname, err)
	}
	bit, ok := names[udpSegmentation]
	if !ok {
		return feature{}, nil
	}
	highest := uint(0)
	for _, b := range names {
		highest = max(highest, b)
	}
	knownFeature.feature = feature{bit: bit, blocks: highest/32 + 1}
	return knownFeature.feature, nil
}

// maxFeatureBlocks is more than any kernel has.
const maxFeatureBlocks = 8

// setFeatures is struct ethtool_sfeatures.
type setFeatures struct {
	command, size uint32
	blocks        [maxFeatureBlocks]struct{ valid, requested uint32 }
}

// featureRequest is struct ifreq with a pointer.
type featureRequest struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// setFeature turns an offload off.
func setFeature(fd int, ifname string, f feature) error {
	if f.blocks > maxFeatureBlocks {
		return fmt.Errorf("%d words of features", f.blocks)
	}
	set := &setFeatures{command: unix.ETHTOOL_SFEATURES, size: uint32(f.blocks)}
	set.blocks[f.bit/32].valid = 1 << (f.bit % 32)
	request := &featureRequest{data: unsafe.Pointer(set)}
	copy(request.name[:unix.IFNAMSIZ-1], ifname)
	// The kernel returns which bits changed otherwise than asked for.
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(request)))
	runtime.KeepAlive(request)
	if errno != 0 {
		return errno
	}
	return nil
}
