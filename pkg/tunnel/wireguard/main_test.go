package wireguard

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"edgenet.dev/edgenet/pkg/tunnel/wireguard/userspace"
)

// TestMain makes the test's executable serve as the daemon's.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == userspace.Command {
		os.Exit(userspace.Main(os.Args[2:]))
	}
	if len(os.Args) > 2 && os.Args[1] == daemonCommand {
		if err := daemonMain(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// The race detector makes a program sleep for a second at its end, which Down
	// would wait for.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}
