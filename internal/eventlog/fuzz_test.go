package eventlog

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/internal/events"
)

// What is stored is read, or refused: it never panics, and what is read can be stored
// and is the same then.
func FuzzStored(f *testing.F) {
	for _, e := range events.Between(at, nil, vpc("blue", 2).After) {
		b, err := proto.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	b, err := proto.Marshal(vpc("blue", 1).After)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := decodeEvent(b); err == nil {
			again, err := proto.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			if twice, err := decodeEvent(again); err != nil || !proto.Equal(e, twice) {
				t.Errorf("%v became %v, %v", e, twice, err)
			}
		}
		if o, err := decodeObject(b); err == nil {
			// Whatever object is stored can be compared and said.
			events.Between(at, o, vpc("green", 1).After)
			events.Between(at, vpc("green", 1).After, o)
			events.Between(at, o, nil)
			if len(events.Between(at, nil, o)) != 1 {
				t.Errorf("%v is not told as new", o)
			}
		}
	})
}
