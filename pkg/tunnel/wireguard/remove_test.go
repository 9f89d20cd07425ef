package wireguard

import (
	"testing"

	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

func TestRemoveAllNeedsNoNameAndLeavesNothing(t *testing.T) {
	n := newNode(t)
	runDir := n.runDir[tunneltest.Left]
	removeAll := func() error { return RemoveAll(t.Context(), runDir, discard) }
	n.space.Must(t, removeAll)
	n.up(t)
	n.Crash(t, tunneltest.Left)
	n.up(t)
	n.space.Must(t, removeAll)
	if left := n.Leftovers(t, tunneltest.Left); len(left) > 0 {
		t.Errorf("it left %q", left)
	}
}
