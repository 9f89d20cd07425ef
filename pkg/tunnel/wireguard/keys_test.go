package wireguard

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func openKeys(t *testing.T, dir string) *Keys {
	t.Helper()
	k, err := OpenKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A process may die after each step; the next one goes on from there.
func TestKeysSurviveADeathBetweenSteps(t *testing.T) {
	dir := t.TempDir()
	first := openKeys(t, dir)
	before, made := first.Current(), first.Since()
	if !first.Next().IsZero() || time.Since(made) > time.Minute {
		t.Fatalf("a new node has a next key, or one that was made at %s", made)
	}
	now := time.Now().Add(48 * time.Hour)
	if err := first.Prepare(now); err != nil {
		t.Fatal(err)
	}
	second := openKeys(t, dir)
	next := second.Next()
	if second.Current() != before || next != first.Next() || !second.Since().Equal(made) {
		t.Fatal("after a death with a next key it is not there, or the current one is another")
	}
	if !next.Public().Follows(before.Public()) {
		t.Error("the next key has the same half")
	}
	if err := second.Prepare(now); err != nil || second.Next() != next {
		t.Errorf("preparing again makes another key: %v", err)
	}
	if err := second.Commit(); err != nil {
		t.Fatal(err)
	}
	for _, k := range []*Keys{second, openKeys(t, dir)} {
		if k.Current() != next || !k.Next().IsZero() || !k.Since().Equal(now.UTC().Truncate(time.Second)) {
			t.Errorf("after the change: the same key %t, made at %s, want %s", k.Current() == next, k.Since(), now)
		}
	}
	if err := second.Commit(); err == nil {
		t.Error("there is nothing to change to, and no error")
	}
	for _, name := range []string{keyFile, madeFile} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v, want mode 0600", name, st, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, nextKeyFile)); !os.IsNotExist(err) {
		t.Errorf("the next key's file is still there: %v", err)
	}
}

func TestAgeOfAKeyWithoutNotesIsItsFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, keyFile)
	if _, err := LoadOrCreateKey(path); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-1000 * time.Hour).Truncate(time.Second)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, madeFile), []byte("not JSON"), 0o600); err != nil {
		t.Fatal(err)
	}
	if k := openKeys(t, dir); !k.Since().Equal(at) {
		t.Errorf("it was made at %s, want %s", k.Since(), at)
	}
	// Once noted, it stays: a backup that is restored has other times.
	if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if k := openKeys(t, dir); !k.Since().Equal(at) {
		t.Errorf("it was made at %s, want %s", k.Since(), at)
	}
}

// A key that somebody put there is not followed by one that was made for another.
func TestANextKeyOfAnotherIsDiscarded(t *testing.T) {
	dir := t.TempDir()
	k := openKeys(t, dir)
	if err := k.Prepare(time.Now()); err != nil {
		t.Fatal(err)
	}
	foreign, err := generateAfter(k.Current())
	if err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(filepath.Join(dir, keyFile), []byte(foreign.key.String()+"\n")); err != nil {
		t.Fatal(err)
	}
	if k = openKeys(t, dir); k.Current() != foreign || !k.Next().IsZero() {
		t.Error("it has another key, or still a next one")
	}
}
