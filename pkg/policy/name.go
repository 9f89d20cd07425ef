package policy

import (
	"errors"
	"fmt"
)

// maxName is the length of a DNS label, so that every name can become one.
const maxName = 63

// ValidateName checks the name of a VPC, group or endpoint: 1 to 63 lower-case
// letters, digits and '-', the first and the last not '-'.
func ValidateName(name string) error {
	if name == "" {
		return errors.New("name is empty: write 1 to 63 lower-case letters, digits or '-'")
	}
	if len(name) > maxName {
		return fmt.Errorf("name %.20q... has %d characters: at most %d are possible", name, len(name), maxName)
	}
	for i, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
		case r == '-' && i > 0 && i < len(name)-1:
		case r == '-':
			return fmt.Errorf("name %q has '-' at its end or beginning: begin and end with a letter or digit", name)
		default:
			return fmt.Errorf("name %q has %q at position %d: only lower-case letters, digits and '-' are possible", name, r, i+1)
		}
	}
	return nil
}
