package daemon_test

import (
	"errors"
	"testing"

	"connectrpc.com/connect"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/daemon"
)

// Whoever misspells a reason would wait for ever.
func TestAReasonThatThereIsNotIsRefused(t *testing.T) {
	n, _ := authority(t)
	watch := func(reason string) error {
		return n.WatchDrops(t.Context(), &api.WatchDropsRequest{Reason: reason}, func(*api.WatchDropsResponse) error { return nil })
	}
	for _, reason := range []string{"no-such-thing", "No-Egress-Rule", "none", "max"} {
		wantCode(t, watch(reason), connect.CodeInvalidArgument, `reason "`+reason+`": there are bad-sequence, `)
		wantCode(t, watch(reason), connect.CodeInvalidArgument, ", no-egress-rule, ")
	}
	for _, reason := range []string{"", "no-egress-rule", "unsupported-protocol"} {
		var refused *daemon.Error
		if err := watch(reason); err == nil || errors.As(err, &refused) && refused.Code == connect.CodeInvalidArgument {
			t.Errorf("reason %q: %v, want that there are no packets to watch", reason, err)
		}
	}
}
