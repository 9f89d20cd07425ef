package device

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// TUN is what programs make TUN devices by.
const TUN = "/dev/net/tun"

// ProbeTUN says whether this host lets programs make TUN devices. An error that
// wraps tunnel.ErrUnsupported says that it has none; another one that it could not
// be found out.
func ProbeTUN() error {
	f, err := os.OpenFile(TUN, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", tunnel.ErrUnsupported, err)
	}
	if err != nil {
		return err
	}
	return f.Close()
}
