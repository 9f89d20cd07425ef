package wireguard

import (
	"os"
	"path/filepath"
	"slices"
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

// What a process leaves that is killed at each step of replacing a key. The next one
// ends what was begun, by the same key if that had its name, and nothing of a key is
// left beside.
func TestKilledAtEachStepOfTheFiles(t *testing.T) {
	now := time.Now()
	aside := func(name, text string) func(*testing.T, *Keys, PrivateKey) {
		return func(t *testing.T, k *Keys, _ PrivateKey) { write(t, k.path(name), text) }
	}
	dates := func(t *testing.T, k *Keys, next PrivateKey) {
		if err := k.storeDates(map[string]time.Time{dated(k.current): k.since, dated(next): now}); err != nil {
			t.Fatal(err)
		}
	}
	named := func(t *testing.T, k *Keys, next PrivateKey) {
		if err := storeKey(k.path(nextKeyFile), next); err != nil {
			t.Fatal(err)
		}
	}
	renamed := func(t *testing.T, k *Keys, _ PrivateKey) {
		if err := os.Rename(k.path(nextKeyFile), k.path(keyFile)); err != nil {
			t.Fatal(err)
		}
	}
	type step struct {
		name string
		do   func(*testing.T, *Keys, PrivateKey)
	}
	steps := []step{
		{"dates are begun", aside("."+madeFile+".104729"+asideEnd, "{")},
		{"dates have their name", dates},
		{"the key is begun", aside("."+nextKeyFile+".15485863"+asideEnd, "")},
		{"the key is written aside", aside("."+nextKeyFile+".15485867"+asideEnd, "half of a key")},
		{"the key has its name", named},
		{"the key has its name, and another beside", aside("."+nextKeyFile+".32452843"+asideEnd, "a whole key")},
		{"the key is the current one", renamed},
	}
	for killed := range steps {
		t.Run(steps[killed].name, func(t *testing.T) {
			dir := t.TempDir()
			first := openKeys(t, dir)
			before, made := first.Current(), first.Since()
			next, err := generateAfter(before)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range steps[:killed+1] {
				s.do(t, first, next)
			}
			k := openKeys(t, dir)
			if killed == len(steps)-1 {
				if k.Current() != next || !k.Next().IsZero() {
					t.Fatal("the key that was the current one is another")
				}
				onlyThese(t, dir, keyFile, madeFile)
				return
			}
			if k.Current() != before || !k.Since().Equal(made) {
				t.Fatal("the current key, or its date, is another")
			}
			if killed >= 4 && k.Next() != next {
				t.Fatal("the next key had its name and is another")
			}
			endsTheChange(t, k, now)
		})
	}
}

// endsTheChange has keys go over to the next one, which has been begun or not.
func endsTheChange(t *testing.T, k *Keys, now time.Time) {
	t.Helper()
	if err := k.Prepare(now); err != nil {
		t.Fatal(err)
	}
	onlyThese(t, k.dir, keyFile, nextKeyFile, madeFile)
	next := k.Next()
	if err := k.Commit(); err != nil || k.Current() != next {
		t.Fatalf("the change ends with %v", err)
	}
	onlyThese(t, k.dir, keyFile, madeFile)
	if again := openKeys(t, k.dir); again.Current() != next || again.Since().Sub(now).Abs() > time.Minute {
		t.Errorf("after all, another key, or made at %s", again.Since())
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func onlyThese(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("there are %v, want %v", got, want)
	}
}

// The file has its name, but writing out the folder was an error: trying again takes
// that key. One that does not follow the current key is another's, and goes.
func TestANextKeyThatIsThereIsTaken(t *testing.T) {
	k := openKeys(t, t.TempDir())
	next, err := generateAfter(k.Current())
	if err != nil {
		t.Fatal(err)
	}
	if err := storeKey(k.path(nextKeyFile), next); err != nil {
		t.Fatal(err)
	}
	if err := k.Prepare(time.Now()); err != nil || k.Next() != next {
		t.Errorf("preparing again: %v; another key %t", err, k.Next() != next)
	}
	if err := k.Commit(); err != nil {
		t.Fatal(err)
	}
	same := freshKey(t)
	for same.Public().Follows(k.Current().Public()) {
		same = freshKey(t)
	}
	if err := storeKey(k.path(nextKeyFile), same); err != nil {
		t.Fatal(err)
	}
	if err := k.Prepare(time.Now()); err != nil || !k.NextPublic().Follows(k.Current().Public()) {
		t.Errorf("with a key of the same half there: %v, next %v", err, k.NextPublic())
	}
}

// What others keep beside the files is theirs.
func TestOthersFilesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	names := []string{
		keyFile, keyFile + ".bak", keyFile + ".", nextKeyFile + ".2026-05-04", "wireguard.keys.1",
		keyFile + ".1", keyFile + ".20260504", nextKeyFile + ".2", madeFile + ".3", ".wireguard.key.new", ".wireguard.key.bak.new",
	}
	for _, name := range names[1:] {
		write(t, filepath.Join(dir, name), "mine")
	}
	openKeys(t, dir)
	onlyThese(t, dir, append(names, madeFile)...)
}
