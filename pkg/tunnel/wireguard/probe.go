package wireguard

import (
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
)

// Probe says whether a driver of the kind, which is not KindAuto, can run on
// this host. An error that wraps tunnel.ErrUnsupported says what the host lacks;
// another one that it could not be found out. What is made to try is gone
// afterwards; only a module that the kernel loads for it stays.
func Probe(kind Kind) error {
	if kind == KindKernel {
		return device.InScratch(func() error {
			return createKernelLink(tunnel.Device{Name: "probe", MTU: tunnel.MinMTU})
		})
	}
	return device.ProbeTUN()
}
