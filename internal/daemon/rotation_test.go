package daemon_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"edgenet.dev/edgenet/internal/daemon/daemontest"
)

// Packets say by which key they go: while there is no datapath to have them say so
// the key stays, and is replaced when there is.
func TestAKeyIsReplacedWhenTheDatapathIsOpen(t *testing.T) {
	n, _ := authority(t)
	n.Stop()
	n.Kernel.BreakDatapath(errors.New("the kernel takes no programs"))
	n.Start()
	daemontest.Await(t, "the tunnels are up", func() bool {
		return strings.Contains(strings.Join(n.Status().GetProblems(), "; "), "takes no programs") // which is tried then
	})
	key := func() string { return n.Status().GetTunnelKey().GetPublicKey() }
	before := key()
	ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond) // two looks at whether it is due
	defer cancel()
	if _, err := n.RotateKeys(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a datapath the rotation ends with %v, want that it goes on", err)
	}
	if key() != before {
		t.Fatal("the key is replaced though packets cannot say so")
	}
	n.Kernel.BreakDatapath(nil)
	daemontest.Await(t, "the key is replaced", func() bool { return key() != before })
}
