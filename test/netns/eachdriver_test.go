package netns

import (
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
)

// withEachDriver runs a scenario with each driver that this machine can run, all at
// the same time, in labs whose hosts use that one alone.
func withEachDriver(t *testing.T, scenario func(t *testing.T, l *lab.Lab, driver string)) {
	t.Helper()
	t.Parallel()
	for _, driver := range []string{"wireguard-kernel", "wireguard-userspace", "ipsec-kernel", "ipsec-userspace"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			l := lab.NewTimed(t)
			l.UseDriver(driver)
			scenario(t, l, driver)
		})
	}
}
