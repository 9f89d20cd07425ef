package wireguard

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"
)

// Kind says which implementation of WireGuard makes a new device.
type Kind uint8

// The kinds.
const (
	// KindAuto is what is there already, or else the kernel's device where the
	// kernel has one, and otherwise the userspace process.
	KindAuto Kind = iota
	// KindKernel is the kernel's device or nothing. A userspace one that is there
	// is replaced.
	KindKernel
	// KindUserspace is the userspace process even where the kernel could. A kernel
	// device that is there is replaced.
	KindUserspace
)

// String returns the kind's name in the configuration.
func (k Kind) String() string {
	switch k {
	case KindAuto:
		return "auto"
	case KindKernel:
		return "kernel"
	case KindUserspace:
		return "userspace"
	default:
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
}

// ParseKind reads a kind's name; empty is KindAuto.
func ParseKind(s string) (Kind, error) {
	switch s {
	case "", "auto":
		return KindAuto, nil
	case "kernel":
		return KindKernel, nil
	case "userspace":
		return KindUserspace, nil
	default:
		return 0, fmt.Errorf("parse kind of wireguard: %q is none of auto, kernel, userspace", s)
	}
}

// Config is what a Driver needs.
type Config struct {
	// Logger must not be nil.
	Logger *slog.Logger
	// Key is this node's key.
	Key PrivateKey
	// RunDir is an absolute path; the userspace process's log is kept in it. It
	// is made when missing.
	RunDir string
	// Executable is the program that calls userspace.Main when its first
	// argument is userspace.Command: the daemon's own, from os.Executable. It
	// may be empty for KindKernel.
	Executable string
	// Kind of the device.
	Kind Kind
	// Device is the name of the device that Down removes when Up was not called
	// before. It may be empty otherwise.
	Device string
	// Now is the clock that the age of handshakes is measured by; nil is
	// time.Now.
	Now func() time.Time
}

func (c Config) validate() error {
	switch {
	case c.Logger == nil:
		return errors.New("no logger")
	case c.Key.IsZero():
		return errors.New("no private key")
	case c.Kind > KindUserspace:
		return fmt.Errorf("unknown kind %d", c.Kind)
	case c.Kind != KindKernel && !filepath.IsAbs(c.RunDir):
		return fmt.Errorf("run directory %q is not an absolute path", c.RunDir)
	case c.Kind != KindKernel && !filepath.IsAbs(c.Executable):
		return fmt.Errorf("executable %q is not an absolute path", c.Executable)
	}
	return nil
}
