package mesh

import (
	"crypto/ed25519"
	"fmt"
	"log/slog"
)

// redacted makes the struct that embeds it unprintable.
type redacted struct{}

// Format prints the same for every verb: %d or %x would reach the bytes
// otherwise.
func (redacted) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("redacted")) }

func (redacted) String() string       { return "redacted" }
func (redacted) GoString() string     { return "redacted" }
func (redacted) LogValue() slog.Value { return slog.StringValue("redacted") }

// MarshalText keeps encoders of JSON and YAML out.
func (redacted) MarshalText() ([]byte, error) { return []byte("redacted"), nil }

// privateKey is the key of a node or of the authority. It does not print.
type privateKey struct {
	redacted
	key ed25519.PrivateKey
}

func (k privateKey) public() ed25519.PublicKey {
	return k.key.Public().(ed25519.PublicKey) // Public says so.
}

// secret is a symmetric key or a token's secret. It does not print.
type secret struct {
	redacted
	bytes []byte
}
