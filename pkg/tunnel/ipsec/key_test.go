package ipsec

import (
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// someKey is the first key of RFC 8032, section 7.1.
func someKey(t *testing.T) PrivateKey {
	t.Helper()
	seed := [ed25519.SeedSize]byte{
		0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
		0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
	}
	key, err := NewKey(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestKeysDoNotPrint(t *testing.T) {
	key := someKey(t)
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("key", "key", key)
	for _, text := range []string{
		fmt.Sprint(key), fmt.Sprintf("%v %+v %#v %d %x %s", key, key, key, key, key, key), b.String(),
		fmt.Sprint(Config{Key: key}),
	} {
		if strings.Contains(text, "9d61") || strings.Contains(text, "157 97") || !strings.Contains(text, "redacted") {
			t.Errorf("it prints as %s", text)
		}
	}
	if _, err := NewKey(ed25519.PrivateKey{1}); err == nil {
		t.Error("a byte is taken for a key")
	}
}

func TestIdentityIsTheHashOfTheKey(t *testing.T) {
	got, err := Identity(someKey(t).Public())
	if err != nil {
		t.Fatal(err)
	}
	// openssl pkey -pubout -outform DER | sha256sum | cut -c -40
	if want := "@#06e3fd8fda29bb60ab59557de61edb0aecdb2311"; got != want {
		t.Errorf("identity is %s, want %s", got, want)
	}
}
