package ipsec

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
)

// Packages are what Debian and Ubuntu call what a driver needs.
const Packages = "charon-systemd libcharon-extra-plugins libstrongswan-standard-plugins"

// pluginDirs are where distributions have charon's plugins.
var pluginDirs = []string{
	"/usr/lib/ipsec/plugins", "/usr/lib64/ipsec/plugins",
	"/usr/lib/strongswan/plugins", "/usr/lib64/strongswan/plugins",
}

// Probe says whether a driver of the kind can run on this host. An error that
// wraps tunnel.ErrUnsupported says what the host lacks; another one that it could
// not be found out. No charon is started for it, and what is made to try is gone
// afterwards; only modules that the kernel loads for it stay.
func Probe(kind Kind) error {
	if kind == KindKernel {
		if err := probeESP(); err != nil {
			return err
		}
		err := device.InScratch(func() error {
			return createInterface(tunnel.Device{Name: "probe", MTU: tunnel.MinMTU})
		})
		if err != nil {
			return err
		}
		return probeCharon(DefaultProgram, plugins)
	}
	if err := probeCharon(DefaultProgram, pluginsTUN); err != nil {
		return err
	}
	return device.ProbeTUN()
}

// probeCharon looks for the program and its plugins. Where plugins are not in
// any of the usual directories only a start would tell.
func probeCharon(program, load string) error {
	st, err := os.Stat(program)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: no %s", tunnel.ErrUnsupported, program)
	case err != nil:
		return err
	case st.Mode()&0o111 == 0:
		return fmt.Errorf("%w: %s is no program", tunnel.ErrUnsupported, program)
	}
	i := slices.IndexFunc(pluginDirs, func(dir string) bool {
		_, err := os.Stat(dir)
		return err == nil
	})
	if i < 0 {
		return nil
	}
	return probePlugins(pluginDirs[i], load)
}

func probePlugins(dir, load string) error {
	var missing []string
	for _, plugin := range strings.Fields(load) {
		_, err := os.Stat(filepath.Join(dir, "libstrongswan-"+plugin+".so"))
		if errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, plugin)
		} else if err != nil {
			return err
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: charon lacks plugins %s in %s", tunnel.ErrUnsupported, strings.Join(missing, ", "), dir)
	}
	return nil
}
