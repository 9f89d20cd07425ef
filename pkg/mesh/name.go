package mesh

import (
	"fmt"
	"strings"
)

// ValidateName tells whether name can be a node's: a DNS label in lower case
// (RFC 1123, 1 to 63 characters) that does not look like a node's id. The
// error wraps ErrNameInvalid.
func ValidateName(name string) error {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-"
	switch {
	case name == "", len(name) > 63,
		strings.Trim(name, letters) != "",
		strings.HasPrefix(name, "-"), strings.HasSuffix(name, "-"),
		NodeID(name).Valid():
		return fmt.Errorf("check node name %q: %w", name, ErrNameInvalid)
	}
	return nil
}
