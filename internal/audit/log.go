package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	// fileName is the log's within its folder; older entries are behind it with
	// oldSuffix.
	fileName  = "audit.jsonl"
	oldSuffix = ".1"
	// maxSize is what a file has, in bytes, before it becomes the older one.
	maxSize = 1 << 20
	// maxText bounds each text of an entry, and maxBroken their number, so that
	// an entry is never larger than a file may be.
	maxText   = 1 << 10
	maxBroken = 64
)

// Entry is one thing that was done.
type Entry struct {
	Time time.Time `json:"time"`
	// Who asked for it, in words.
	Who string `json:"who"`
	// VPC is empty for what is about all.
	VPC string `json:"vpc"`
	// What was asked for, in words.
	What string `json:"what"`
	// Broken are the tests that it broke; what is too much is left out.
	Broken []Broken `json:"broken"`
	// Failed says why nothing came of it, after all; empty if something did.
	Failed string `json:"failed,omitempty"`
}

// Broken is a test that does not hold any more.
type Broken struct {
	Test string `json:"test"`
	// Why is the counter-example.
	Why string `json:"why"`
}

// Log is the file. It is safe for concurrent use within one process.
type Log struct {
	path string
	max  int64
	mu   sync.Mutex
}

// Open names the log in a folder; the file is made by the first entry.
func Open(dir string) *Log { return &Log{path: filepath.Join(dir, fileName), max: maxSize} }

// Append adds an entry. When it returns without an error, the entry is on disk.
func (l *Log) Append(e Entry) error {
	line, err := json.Marshal(e.clipped())
	if err != nil {
		return fmt.Errorf("encode audit entry: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.rotate(int64(len(line)) + 1); err != nil {
		return fmt.Errorf("rotate %s: %w", l.path, err)
	}
	if err := appendLine(l.path, line); err != nil {
		return fmt.Errorf("append to audit log: %w", err)
	}
	return nil
}

// clipped is the entry within its bounds.
func (e Entry) clipped() Entry {
	e.Who, e.VPC, e.What, e.Failed = clip(e.Who), clip(e.VPC), clip(e.What), clip(e.Failed)
	broken := make([]Broken, 0, min(len(e.Broken), maxBroken))
	for _, b := range e.Broken[:min(len(e.Broken), maxBroken)] {
		broken = append(broken, Broken{Test: clip(b.Test), Why: clip(b.Why)})
	}
	e.Broken = broken
	return e
}

func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxText)], "") }

// rotate makes the file the older one if it has no room for so many bytes.
func (l *Log) rotate(room int64) error {
	info, err := os.Stat(l.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil || info.Size()+room <= l.max {
		return err
	}
	return os.Rename(l.path, l.path+oldSuffix)
}

// appendLine adds a line. What a crash left of an unfinished one ends before it.
func appendLine(path string, line []byte) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	torn, err := endsTorn(f)
	if err != nil {
		return err
	}
	if torn {
		line = append([]byte{'\n'}, line...)
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		return err
	}
	return f.Sync()
}

// endsTorn tells whether the last line of a file has no end.
func endsTorn(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	var last [1]byte
	_, err = f.ReadAt(last[:], info.Size()-1)
	return last[0] != '\n', err
}

// List returns all entries that are kept, the oldest first. Lines that cannot be
// read are left out.
func (l *Log) List() ([]Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Entry
	for _, path := range []string{l.path + oldSuffix, l.path} {
		entries, err := readFile(path)
		if err != nil {
			return nil, fmt.Errorf("read audit log: %w", err)
		}
		all = append(all, entries...)
	}
	return all, nil
}

func readFile(path string) ([]Entry, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var entries []Entry
	lines := bufio.NewReader(bytes.NewReader(text))
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return entries, nil // what follows the last line's end was never finished
		}
		if err != nil {
			return nil, err
		}
		var e Entry
		if json.Unmarshal(line, &e) == nil {
			entries = append(entries, e)
		}
	}
}
