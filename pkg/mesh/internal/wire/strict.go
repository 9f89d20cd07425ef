package wire

import (
	"bytes"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// ErrNotCanonical says that bytes decode, but are not what Marshal would have
// made: they have unknown or repeated fields, or another order.
var ErrNotCanonical = errors.New("not in canonical form")

// Marshal serializes m in the canonical form: fields by number, each once.
func Marshal(m proto.Message) ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	return b, nil
}

// Unmarshal decodes b into m and refuses every form but the one that Marshal
// makes, so that two different byte strings never mean the same.
func Unmarshal(b []byte, m proto.Message) error {
	// What is unknown is dropped, and so missing from what is made again.
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, m); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	again, err := Marshal(m)
	if err != nil {
		return err
	}
	if !bytes.Equal(b, again) {
		return fmt.Errorf("decode message: %w", ErrNotCanonical)
	}
	return nil
}
