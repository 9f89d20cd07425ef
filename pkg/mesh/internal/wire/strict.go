package wire

import (
	"bytes"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// ErrNotCanonical says that bytes decode, but are not what Marshal would have
// made: they have unknown or repeated fields, or another order.
var ErrNotCanonical = errors.New("not in canonical form")

// ErrTooManyParts says that a message has more repeated parts and messages
// within than any that makes sense.
var ErrTooManyParts = errors.New("too many parts")

// maxParts is more than any message has that was made here. An empty part takes
// two bytes on the way and a hundred in memory.
const maxParts = 1 << 17

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
	if countParts(b, m.ProtoReflect().Descriptor()) > maxParts {
		return fmt.Errorf("decode message: %w", ErrTooManyParts)
	}
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

// Field returns the bytes of a field within a message that Unmarshal has taken,
// not a copy of them, nil if it is not there.
func Field(b []byte, number protowire.Number) []byte {
	for len(b) > 0 {
		is, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(is, kind, b); n < 0 {
			return nil
		}
		if is == number && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(b)
			return value[:len(value):len(value)]
		}
		b = b[n:]
	}
	return nil
}

// countParts returns how many parts a serialized message has, as far as it can
// be read: what comes after is refused by whoever decodes it.
func countParts(b []byte, d protoreflect.MessageDescriptor) int {
	parts := 0
	for len(b) > 0 && parts <= maxParts {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return parts
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
			return parts
		}
		value := b[:n]
		b = b[n:]
		field := d.Fields().ByNumber(number)
		if field == nil || field.Message() == nil && !field.IsList() {
			continue
		}
		parts++
		if inner, n := protowire.ConsumeBytes(value); field.Message() != nil && kind == protowire.BytesType && n > 0 {
			parts += countParts(inner, field.Message())
		}
	}
	return parts
}
