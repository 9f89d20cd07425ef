// Package unprinted keeps what a driver holds of keys out of everything that prints.
//
// Out of scope: how keys are made, read and kept.
package unprinted

import (
	"fmt"
	"io"
	"log/slog"
)

// Key is embedded in the type of a private key, which then never prints.
type Key struct{}

const redacted = "PrivateKey(redacted)"

// String returns a constant.
func (Key) String() string { return redacted }

// GoString returns a constant.
func (Key) GoString() string { return redacted }

// Format writes a constant for every verb: fmt prints the fields of a Stringer
// under verbs such as %d.
func (Key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// LogValue returns a constant.
func (Key) LogValue() slog.Value { return slog.StringValue("redacted") }
