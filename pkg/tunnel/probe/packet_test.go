package probe

import (
	"errors"
	"testing"
)

func reply(id, seq uint16, n nonce) []byte {
	b := request(id, seq, n)
	b[0] = typeEchoReply
	return b
}

func TestParseReply(t *testing.T) {
	const id, seq = 0x1234, 0xfffe
	n := nonce{1, 2, 3}
	for _, c := range []struct {
		name  string
		alter func(b []byte) []byte
		ok    bool
	}{
		{"an answer", func(b []byte) []byte { return b }, true},
		{"any checksum, which the kernel has checked", func(b []byte) []byte { b[2] ^= 1; return b }, true},
		{"empty", func([]byte) []byte { return nil }, false},
		{"a request", func(b []byte) []byte { b[0] = typeEchoRequest; return b }, false},
		{"another code", func(b []byte) []byte { b[1] = 1; return b }, false},
		{"another identifier", func(b []byte) []byte { b[5] ^= 1; return b }, false},
		{"another nonce", func(b []byte) []byte { b[packetLen-1] ^= 1; return b }, false},
		{"too short", func(b []byte) []byte { return b[:packetLen-1] }, false},
		{"too long", func(b []byte) []byte { return append(b, 0) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseReply(c.alter(reply(id, seq, n)), id, n)
			if c.ok && (err != nil || got != seq) {
				t.Errorf("got %#x, %v, want %#x", got, err, seq)
			}
			if !c.ok && !errors.Is(err, errForeign) {
				t.Errorf("error is %v, want %v", err, errForeign)
			}
		})
	}
}

func FuzzParseReply(f *testing.F) {
	n := nonce{1, 2, 3}
	f.Add(reply(7, 9, n), uint16(7))
	f.Add(request(7, 9, n), uint16(7))
	f.Add([]byte{}, uint16(0))
	f.Fuzz(func(t *testing.T, b []byte, id uint16) {
		seq, err := parseReply(b, id, n)
		if err != nil {
			return
		}
		want := reply(id, seq, n)
		copy(want[2:4], b[2:4]) // the checksum is the kernel's
		if string(want) != string(b) {
			t.Errorf("accepted %x as an answer to %d", b, seq)
		}
	})
}
