package wireguard

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestPrivateKeyNeverPrints(t *testing.T) {
	raw := [32]byte{}
	for i := range raw {
		raw[i] = byte(i + 8)
	}
	text := base64.StdEncoding.EncodeToString(raw[:])
	key, err := ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U", "%T"} {
		fmt.Fprintf(&out, verb+"\n", key)
		fmt.Fprintf(&out, verb+"\n", &key)
		fmt.Fprintf(&out, verb+"\n", struct{ Key PrivateKey }{key})
	}
	fmt.Fprintln(&out, key, key.String(), key.GoString())
	slog.New(slog.NewTextHandler(&out, nil)).Info("key", "key", key, "ptr", &key, "config", Config{Key: key})
	slog.New(slog.NewJSONHandler(&out, nil)).Info("key", "key", key, "ptr", &key)
	if err := json.NewEncoder(&out).Encode(map[string]any{"key": key}); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{text[4:20], "090a0b", "090A0B", "9 10 11", "10, 11, 12", "0x9, 0xa", "11 12 13"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("output contains %q:\n%s", secret, &out)
		}
	}
}

func TestKeyIsCreatedOnceAndLoaded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "wireguard.key")
	made, err := LoadOrCreateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, %v, want 0600", st.Mode(), err)
	}
	loaded, err := LoadOrCreateKey(path)
	if err != nil || loaded != made || loaded.IsZero() || loaded.Public() != made.Public() {
		t.Errorf("loaded key differs: %v", err)
	}
	onlyFile(t, path)
}

func TestKeyIsOneForAllWhoCreateIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "wireguard.key")
	keys := make([]PrivateKey, 8)
	var tasks sync.WaitGroup
	for i := range keys {
		tasks.Go(func() {
			var err error
			if keys[i], err = LoadOrCreateKey(path); err != nil {
				t.Error(err)
			}
		})
	}
	tasks.Wait()
	for _, k := range keys {
		if k != keys[0] {
			t.Fatal("two keys were created")
		}
	}
	onlyFile(t, path)
}

func onlyFile(t *testing.T, path string) {
	t.Helper()
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 {
		t.Errorf("files are %v, %v, want the key alone", files, err)
	}
}

func TestBadKeyFileIsLeftAlone(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	for _, c := range []struct {
		name, text string
		mode       os.FileMode
	}{
		{"empty", "", 0o600},
		{"half a key", good[:20], 0o600},
		{"two keys", good + "\n" + good, 0o600},
		{"no base64", strings.Repeat("!", 44), 0o600},
		{"zero", base64.StdEncoding.EncodeToString(make([]byte, 32)), 0o600},
		{"very long", strings.Repeat(" ", 10_000) + good, 0o600},
		{"readable by others", good, 0o644},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "wireguard.key")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			_, err := LoadOrCreateKey(path)
			if err == nil {
				t.Fatal("it was accepted")
			}
			if len(c.text) > 8 && strings.Contains(err.Error(), c.text[:8]) {
				t.Errorf("error repeats the file: %v", err)
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != c.text {
				t.Errorf("the file was changed: %v", err)
			}
		})
	}
}

func TestKeyInMissingDirectoryIsAnError(t *testing.T) {
	if _, err := LoadOrCreateKey(filepath.Join(t.TempDir(), "none", "key")); err == nil {
		t.Error("a key was kept nowhere")
	}
}

// WireGuard reports the key clamped, and an unclamped one would never compare
// equal.
func TestParsedKeyIsClamped(t *testing.T) {
	key, err := ParseKey(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 32)) + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if key.key[0] != 0xf8 || key.key[31] != 0x7f {
		t.Errorf("first and last byte are %#x, %#x, want 0xf8, 0x7f", key.key[0], key.key[31])
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add("")
	f.Add(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	f.Fuzz(func(t *testing.T, text string) {
		key, err := ParseKey(text)
		if err != nil {
			if !key.IsZero() {
				t.Error("an error came with a key")
			}
			return
		}
		again, err := ParseKey(key.key.String())
		if err != nil || again != key {
			t.Errorf("a parsed key does not parse to itself: %v", err)
		}
	})
}
