package wire

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// messages has one of each message, with all that it can have.
func messages() []proto.Message {
	env := &Envelope{Body: []byte("body"), Signature: bytes.Repeat([]byte{7}, 64)}
	beat := &Beat{Node: make([]byte, 20), Start: 3, At: 4, Signature: bytes.Repeat([]byte{9}, 64)}
	return []proto.Message{
		env,
		&Body{Kind: "vpc", Key: "v", Version: 5, Node: make([]byte, 20), Deleted: true, Payload: []byte("p"), Certificate: []byte("c")},
		&NodeInfo{Name: "n", Links: []*Link{{Addr: []byte{10, 0, 0, 1}, Carrier: "c"}}, GossipPort: 7946, PeerPort: 7947, Version: "v", Announcement: []byte("a")},
		&Gossip{Message: &Gossip_Envelope{Envelope: env}},
		&Gossip{Message: &Gossip_Hint{Hint: &Hint{Kind: "vpc", Key: "v", Version: 3, Sender: make([]byte, 20)}}},
		&Gossip{Message: &Gossip_Beat{Beat: beat}},
		&Gossip{Message: &Gossip_Heard{Heard: beat}},
		&Gossip{Message: &Gossip_Ask{Ask: &Ask{Sender: make([]byte, 20)}}},
		&Gossip{Message: &Gossip_Silence{Silence: &Silence{
			Witness: make([]byte, 20), Beat: beat, Silent: 5, Start: 6, At: 7, Signature: bytes.Repeat([]byte{8}, 64),
		}}},
		&Gossip{Message: &Gossip_Digest{Digest: &Digest{
			Sender: make([]byte, 20), Cut: 1, Settled: 2, Recent: []uint64{3, 4}, Members: 5, Answer: true,
		}}},
		&Gossip{Message: &Gossip_Want{Want: &Want{Sender: make([]byte, 20), Hashes: []uint64{1, 2}}}},
		&SyncRequest{Digests: []uint64{1, 2}, Records: []*Envelope{env}, Want: []*Ref{{Kind: "vpc", Key: "v"}}},
		&SyncResponse{Buckets: []*Bucket{{Index: 3, Entries: []*Summary{{Kind: "vpc", Key: "v", Version: 1, Signature: 2}}}}, Records: []*Envelope{env}},
		&JoinRequest{TokenId: make([]byte, 8), Proof: make([]byte, 32), Request: []byte("r")},
		&JoinResponse{Authority: []byte("a"), Certificate: []byte("c"), GossipKeys: []*OfferedKey{{Key: make([]byte, 32), Version: 1, UseInMs: 2, DropInMs: 3}}, Records: []*Envelope{env}},
		&Refusal{Code: "c", Message: "m", Records: []*Envelope{env}},
		&Eviction{Name: "n", Approval: make([]byte, 64)},
		&GossipKey{Generation: 1, Check: make([]byte, 32), Eviction: true, Copies: []*SealedKey{{Node: make([]byte, 20), Sealed: make([]byte, 80)}}},
		&KeyResponse{Keys: []*OfferedKey{{Key: make([]byte, 32), Version: 1}}},
		&RenewResponse{Certificate: []byte("c")},
		&ShareRequest{TokenId: make([]byte, 8), Tokens: []*SharedToken{{Id: make([]byte, 8), Grant: &Grant{Key: []byte("k")}}}},
		&ShareResponse{Key: make([]byte, 32), Tokens: []*SharedToken{{Id: make([]byte, 8), Grant: &Grant{Key: []byte("k")}}}},
		&Backup{Authority: []byte("a"), Key: make([]byte, 32), GossipKey: &HeldKey{Key: make([]byte, 32), Version: 1}, Tokens: []*SharedToken{{Id: make([]byte, 8)}}, Records: []*Envelope{env}},
		&Token{Fingerprint: make([]byte, 32), Seeds: []string{"10.0.0.1:7947"}, Id: make([]byte, 8), Secret: make([]byte, 32), Expires: 1},
		&Grant{Key: []byte("k"), Expires: 1, Uses: 2, Roles: []string{"edge"}, Admitted: []string{"n"}},
		&Member{Name: "n", Certificate: []byte("c")},
		&Membership{Authority: []byte("a"), Certificate: []byte("c"), GossipKeys: []*HeldKey{{Key: make([]byte, 32), Version: 1, UseAtMs: 2, DropAtMs: 3}}, Seeds: []string{"10.0.0.1:7947"}},
	}
}

// split returns the fields of a message, each with its tag.
func split(t *testing.T, b []byte) [][]byte {
	t.Helper()
	var out [][]byte
	for len(b) > 0 {
		_, _, n := protowire.ConsumeField(b)
		if n < 0 {
			t.Fatalf("not a message: %x", b)
		}
		out = append(out, b[:n])
		b = b[n:]
	}
	return out
}

// otherForms returns what a canonical message may be written like besides: what
// decoders of protobuf take for the same, or for nearly the same.
func otherForms(t *testing.T, b []byte) map[string][]byte {
	t.Helper()
	fields := split(t, b)
	first := fields[0]
	reversed := slices.Clone(fields)
	slices.Reverse(reversed)
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 1000, protowire.VarintType), 1)
	group := protowire.AppendTag(protowire.AppendTag(nil, 1000, protowire.StartGroupType), 1000, protowire.EndGroupType)
	forms := map[string][]byte{
		"a field that is unknown, last":  slices.Concat(b, unknown),
		"a field that is unknown, first": slices.Concat(unknown, b),
		"a group":                        slices.Concat(b, group),
		"a zero byte more":               slices.Concat(b, []byte{0}),
		"a byte less":                    b[:len(b)-1],
		"a tag of two bytes":             slices.Concat([]byte{first[0] | 0x80, 0}, b[1:]),
		"a tag of ten bytes":             slices.Concat([]byte{first[0] | 0x80}, bytes.Repeat([]byte{0x80}, 8), []byte{0}, b[1:]),
		"a field of another type":        slices.Concat(protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1), b),
	}
	if len(fields) > 1 {
		forms["fields in another order"] = bytes.Join(reversed, nil)
	}
	number, kind, _ := protowire.ConsumeTag(first)
	if kind == protowire.BytesType {
		content, _ := protowire.ConsumeBytes(first[1:])
		size := protowire.AppendVarint(nil, uint64(len(content)))
		size[len(size)-1] |= 0x80
		forms["a length with a byte too many"] = slices.Concat(first[:1], size, []byte{0}, content, b[len(first):])
		forms["an empty field before it"] = slices.Concat(protowire.AppendBytes(protowire.AppendTag(nil, number, kind), nil), b)
	}
	return forms
}

func TestEveryOtherFormIsRefused(t *testing.T) {
	for _, m := range messages() {
		of := m.ProtoReflect().Descriptor().Name()
		b, err := Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		again := m.ProtoReflect().New().Interface()
		if err := Unmarshal(b, again); err != nil || !proto.Equal(m, again) {
			t.Errorf("%s: the form itself gives %v, %v", of, again, err)
		}
		for name, form := range otherForms(t, b) {
			again := m.ProtoReflect().New().Interface()
			if err := Unmarshal(form, again); err == nil && !isRepeated(m, name) {
				t.Errorf("%s with %s is taken: %x", of, name, form)
			}
		}
	}
}

// isRepeated tells whether a form is one of a different message: an empty
// element of a list is an element.
func isRepeated(m proto.Message, form string) bool {
	first := m.ProtoReflect().Descriptor().Fields().ByNumber(1)
	return form == "an empty field before it" && first.IsList() && !first.IsPacked()
}

// Numbers and lists have other forms of their own.
func TestOtherFormsOfNumbersAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		m proto.Message
		b []byte
	}{
		"false, said":               {&Body{}, []byte{5 << 3, 0}},
		"true as 2":                 {&Body{}, []byte{5 << 3, 2}},
		"true in two bytes":         {&Body{}, []byte{5 << 3, 0x81, 0}},
		"a port beyond 32 bits":     {&NodeInfo{}, []byte{3 << 3, 0x81, 0x80, 0x80, 0x80, 0x80, 1}},
		"a version as a varint":     {&Body{}, []byte{3 << 3, 5}},
		"zero as a version":         {&Body{}, append([]byte{3<<3 | 1}, make([]byte, 8)...)},
		"digests that do not pack":  {&Want{}, append([]byte{2<<3 | 1}, []byte{1, 0, 0, 0, 0, 0, 0, 0}...)},
		"digests that pack nothing": {&Want{}, []byte{2<<3 | 2, 0}},
		"text that is not UTF-8":    {&Refusal{}, []byte{1<<3 | 2, 1, 0xff}},
		"two of one choice":         {&Gossip{}, slices.Concat([]byte{2<<3 | 2, 3, 1<<3 | 2, 1, 'k'}, []byte{1<<3 | 2, 3, 1<<3 | 2, 1, 'b'})},
		"an empty message in parts": {&Gossip{}, []byte{1<<3 | 2, 0, 1<<3 | 2, 0}},
	} {
		if err := Unmarshal(c.b, c.m); err == nil {
			t.Errorf("%s is taken: %v", name, c.m)
		}
	}
}

// Whatever is taken is what would have been made, and is bounded.
func FuzzMessages(f *testing.F) {
	for i, m := range messages() {
		b, err := Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), b)
	}
	all := messages()
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		m := all[int(which)%len(all)].ProtoReflect().New().Interface()
		if Unmarshal(b, m) != nil {
			return
		}
		again, err := Marshal(m)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x is taken, and its form is %x, %v", b, again, err)
		}
	})
}
