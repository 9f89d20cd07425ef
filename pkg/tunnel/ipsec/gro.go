package ipsec

import (
	"fmt"

	"github.com/safchain/ethtool"

	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
)

// receiveOffload is generic receive offload, as ethtool names it.
const receiveOffload = "rx-gro"

// ensureNoGRO turns generic receive offload off on the xfrm interface. It merges packets
// that look like one flow, whichever SA each came out of, and what comes of it has the
// request id of the first alone: neither a TCP segment nor, where some socket of the
// host has asked for it, a datagram of one peer could be told from another's
// (gro_list_prepare in the kernel's net/core/gro.c compares no SAs).
func ensureNoGRO(name string, mended *device.Mended) error {
	tool, err := ethtool.NewEthtool()
	if err != nil {
		return fmt.Errorf("open ethtool: %w", err)
	}
	defer tool.Close()
	have, err := tool.Features(name)
	if err != nil {
		return fmt.Errorf("read offloads: %w", err)
	}
	if !have[receiveOffload] {
		return nil
	}
	if err := tool.Change(name, map[string]bool{receiveOffload: false}); err != nil {
		return fmt.Errorf("turn off receive offload: %w", err)
	}
	mended.Note("receive offload was on")
	return nil
}
