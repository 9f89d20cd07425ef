package ipsec

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// Kind says where ESP is done.
type Kind uint8

// The kinds.
const (
	// KindKernel is ESP in the kernel, through an xfrm interface.
	KindKernel Kind = iota + 1
	// KindUserspace is ESP in charon, through a TUN device.
	KindUserspace
)

// String is the name of the driver.
func (k Kind) String() string {
	switch k {
	case KindKernel:
		return NameKernel
	case KindUserspace:
		return NameUserspace
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// MTU returns how large a packet into the tunnel may be, in bytes, as
// tunnel.ESPMTU does; no larger than what the kind takes.
func (k Kind) MTU(underlay int, remote netip.Addr) int {
	if k == KindUserspace {
		return min(tunnel.ESPMTU(underlay, remote), maxTUNMTU)
	}
	return tunnel.ESPMTU(underlay, remote)
}

// Names of the drivers in the API.
const (
	NameKernel    = "ipsec-kernel"
	NameUserspace = "ipsec-userspace"
)

// DefaultProgram is where Debian's charon-systemd is. It does not need systemd.
const DefaultProgram = "/usr/sbin/charon-systemd"

// Config is what a Driver needs.
type Config struct {
	// Logger must not be nil.
	Logger *slog.Logger
	// Kind of the driver. What one of the other kind has made of the device is
	// replaced.
	Kind Kind
	// Key is this node's identity.
	Key PrivateKey
	// RunDir is an absolute path; charon's directory is made in it.
	RunDir string
	// Device is the name of the device, as Up will be called with it; charon's
	// directory is named after it.
	Device string
	// Program is charon's absolute path; empty is DefaultProgram.
	Program string
	// Lifetimes of keys; zero is the default.
	Lifetimes Lifetimes
	// Rate is the most that is sent into the TUN of KindUserspace, in bits per
	// second; zero is DefaultRate. What charon can encrypt of it is found out.
	Rate uint64
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Lifetimes say when keys are replaced, by the end with the lower prefix. The other
// one does so a tenth and a twentieth later, a second at least, if the first did not. A
// time is brought forward by up to a tenth at random, and an SA ends by itself when it
// could not be replaced for a quarter longer, a minute at least.
type Lifetimes struct {
	// IKE is the age of an IKE SA.
	IKE time.Duration
	// Child is the age of a child SA.
	Child time.Duration
}

// DefaultLifetimes are strongSwan's own.
var DefaultLifetimes = Lifetimes{IKE: 4 * time.Hour, Child: time.Hour}

// DefaultRate is twice what charon encrypts on a processor of a small server (400
// to 500 Mbit/s).
const DefaultRate = 1_000_000_000

// minLifetime is the least that chance cannot make 0 of, which to charon is never:
// it counts in seconds, and takes up to two of them off.
const minLifetime = 3 * time.Second

func (c Config) withDefaults() Config {
	if c.Program == "" {
		c.Program = DefaultProgram
	}
	if c.Lifetimes == (Lifetimes{}) {
		c.Lifetimes = DefaultLifetimes
	}
	if c.Rate == 0 {
		c.Rate = DefaultRate
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Logger == nil:
		return errors.New("no logger")
	case c.Kind != KindKernel && c.Kind != KindUserspace:
		return fmt.Errorf("unknown kind %d", c.Kind)
	case c.Key.IsZero():
		return errors.New("no private key")
	case !filepath.IsAbs(c.RunDir):
		return fmt.Errorf("run directory %q is not an absolute path", c.RunDir)
	case c.Device == "" || strings.ContainsRune(c.Device, '/'):
		return fmt.Errorf("%q is no name of a device", c.Device)
	case len(socketPath(directory(c.RunDir, c.Device))) >= maxSocketPath:
		return fmt.Errorf("path %s of the control socket is longer than %d bytes",
			socketPath(directory(c.RunDir, c.Device)), maxSocketPath-1)
	case !filepath.IsAbs(c.Program):
		return fmt.Errorf("program %q is not an absolute path", c.Program)
	case c.Lifetimes.IKE < minLifetime || c.Lifetimes.Child < minLifetime:
		return fmt.Errorf("lifetimes %s and %s are not at least %s", c.Lifetimes.IKE, c.Lifetimes.Child, minLifetime)
	}
	return nil
}

// maxSocketPath is what sockaddr_un holds, in bytes, with the final NUL
// (linux/un.h).
const maxSocketPath = 108

// directory returns charon's directory for a device.
func directory(runDir, device string) string { return filepath.Join(runDir, "ipsec-"+device) }

func socketPath(dir string) string { return filepath.Join(dir, "charon.vici") }

func logPath(dir string) string { return filepath.Join(dir, "charon.log") }

func settingsPath(dir string) string { return filepath.Join(dir, "strongswan.conf") }
