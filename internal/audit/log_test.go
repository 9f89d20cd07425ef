package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func entry(n int) Entry {
	return Entry{
		Time: noon.Add(time.Duration(n) * time.Second), Who: "uid 0, pid 4711", VPC: "blue", What: fmt.Sprint("change ", n),
		Broken: []Broken{{Test: "nobody reaches db:22", Why: "web-1 does"}},
	}
}

func list(t *testing.T, l *Log) []Entry {
	t.Helper()
	all, err := l.List()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEntriesAreKeptInOrder(t *testing.T) {
	dir := t.TempDir()
	if got := list(t, Open(dir)); len(got) != 0 {
		t.Errorf("a new log has %v", got)
	}
	var want []Entry
	for n := range 3 {
		want = append(want, entry(n))
		if err := Open(dir).Append(entry(n)); err != nil {
			t.Fatal(err)
		}
	}
	if got := list(t, Open(dir)); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	info, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
}

func TestTheLogStaysWithinItsBounds(t *testing.T) {
	dir := t.TempDir()
	l := Open(dir)
	l.max = 1000
	const count = 50
	for n := range count {
		if err := l.Append(entry(n)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{fileName, fileName + oldSuffix} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() > l.max {
			t.Errorf("%s has %d bytes, %v", name, info.Size(), err)
		}
	}
	got := list(t, l)
	if len(got) < 5 || !reflect.DeepEqual(got[len(got)-1], entry(count-1)) {
		t.Fatalf("%d entries are left, the last is %v", len(got), got[len(got)-1])
	}
	for i, e := range got {
		if want := entry(count - len(got) + i); !reflect.DeepEqual(e, want) {
			t.Errorf("entry %d is %v, want %v", i, e, want)
		}
	}
}

// An entry larger than all bounds is cut, not refused, and fits a file.
func TestALongEntryIsCut(t *testing.T) {
	l := Open(t.TempDir())
	long := entry(1)
	long.What = strings.Repeat("ä", maxText)
	for range 2 * maxBroken {
		long.Broken = append(long.Broken, Broken{Test: strings.Repeat("x", 2*maxText), Why: strings.Repeat("y", 2*maxText)})
	}
	if err := l.Append(long); err != nil {
		t.Fatal(err)
	}
	got := list(t, l)
	if len(got) != 1 || len(got[0].Broken) != maxBroken || len(got[0].What) > maxText || !strings.HasPrefix(got[0].What, "ää") {
		t.Errorf("got %v", got)
	}
	if info, err := os.Stat(l.path); err != nil || info.Size() > maxSize {
		t.Errorf("it has %d bytes, %v", info.Size(), err)
	}
}

// What a crash left of a line harms no other.
func TestATornLineHarmsNoOther(t *testing.T) {
	l := Open(t.TempDir())
	if err := l.Append(entry(0)); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"time":"2026-`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got := list(t, l); len(got) != 1 {
		t.Errorf("got %v", got)
	}
	if err := l.Append(entry(1)); err != nil {
		t.Fatal(err)
	}
	if got := list(t, l); !reflect.DeepEqual(got, []Entry{entry(0), entry(1)}) {
		t.Errorf("got %v", got)
	}
}
