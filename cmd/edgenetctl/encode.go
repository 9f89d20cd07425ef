package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// object is a JSON object that keeps its order.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON is for encoding/json.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// toYAML turns objects into what the YAML library keeps in order.
func toYAML(value any) any {
	switch v := value.(type) {
	case object:
		items := make(yaml.MapSlice, 0, len(v))
		for _, m := range v {
			items = append(items, yaml.MapItem{Key: m.name, Value: toYAML(m.value)})
		}
		return items
	case []any:
		list := make([]any, 0, len(v))
		for _, item := range v {
			list = append(list, toYAML(item))
		}
		return list
	default:
		return value
	}
}

// fromMessage is the API's JSON of a message with the fields in the order of the
// API's definition, all of them, and 64-bit integers as numbers: protojson
// writes those as strings, which scripts would have to undo.
func fromMessage(m protoreflect.Message) any {
	if t, ok := m.Interface().(*timestamppb.Timestamp); ok {
		return t.AsTime().Format(time.RFC3339Nano)
	}
	fields := m.Descriptor().Fields()
	o := make(object, 0, fields.Len())
	for i := range fields.Len() {
		f := fields.Get(i)
		if oneof := f.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() && !m.Has(f) {
			continue // one of several that exclude each other
		}
		o = append(o, member{name: f.JSONName(), value: fromField(m, f)})
	}
	return o
}

func fromField(m protoreflect.Message, f protoreflect.FieldDescriptor) any {
	value := m.Get(f)
	switch {
	case f.IsList():
		list := make([]any, 0, value.List().Len())
		for i := range value.List().Len() {
			list = append(list, fromValue(value.List().Get(i), f))
		}
		return list
	case f.IsMap():
		o := make(object, 0, value.Map().Len())
		for k, v := range value.Map().Range {
			o = append(o, member{name: k.String(), value: fromValue(v, f.MapValue())})
		}
		slices.SortFunc(o, func(a, b member) int { return strings.Compare(a.name, b.name) })
		return o
	case f.HasPresence() && !m.Has(f):
		return nil
	default:
		return fromValue(value, f)
	}
}

func fromValue(v protoreflect.Value, f protoreflect.FieldDescriptor) any {
	if f.Message() != nil {
		return fromMessage(v.Message())
	}
	return v.Interface()
}
