package eventlog

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"edgenet.dev/edgenet/internal/events"
)

// The bounds of a log: as many events as are some days of a calm mesh, and bytes for
// when they are big. The newest event stays, whatever its size.
const (
	maxEvents = 10_000
	maxBytes  = 16 << 20
)

var (
	// ErrForgotten says that the events after a revision are not there, or not all.
	ErrForgotten = errors.New("list what there is, and go on from there")
	// ErrClosed says that the log has been closed.
	ErrClosed = errors.New("the event log is closed")
)

// Config is where a log is.
type Config struct {
	// Path is the file. Fallback, if not empty, is another one, which is used while
	// the first cannot be written, and forgotten by the next Open.
	Path, Fallback string
	Logger         *slog.Logger
	// MaxEvents and MaxBytes bound the log; 0 means 10,000 and 16 MiB.
	MaxEvents uint64
	MaxBytes  int64
}

// Log is the log. Commit, Begin and Close are for its owner alone; all else may be
// called by anybody.
type Log struct {
	cfg   Config
	pokes pokes
	// found is damage that a reader met; the next commit begins anew then.
	found atomic.Pointer[damageError]

	// mu is held for reading while db is used, for writing while it is replaced.
	mu      sync.RWMutex
	db      *database
	problem error
}

// Open opens the log, or begins one. A damaged file is moved aside. If nothing can be
// written at the path the log is at the fallback, and Problem says why.
func Open(cfg Config) (*Log, error) {
	if cfg.MaxEvents == 0 {
		cfg.MaxEvents = maxEvents
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = maxBytes
	}
	l := &Log{cfg: cfg}
	db, err := openDatabase(cfg.Path)
	var damage damageError
	if errors.As(err, &damage) {
		cfg.Logger.Warn("event log is damaged: it is moved aside, and begun anew", "file", cfg.Path, "err", damage.err)
		if err = moveAside(cfg.Path); err == nil {
			db, err = openDatabase(cfg.Path)
		}
	}
	if err != nil {
		return l, l.fallBack(err)
	}
	if l.db = db; cfg.Fallback != "" {
		_ = os.Remove(cfg.Fallback) // that of an earlier start, if there is one
	}
	return l, nil
}

// fallBack begins a log at the fallback, since err keeps it from being where it
// belongs. mu is held, or nobody else knows of the log.
func (l *Log) fallBack(err error) error {
	if l.cfg.Fallback == "" || l.problem != nil {
		return err
	}
	db, failed := beginDatabase(l.cfg.Fallback)
	if failed != nil {
		return errors.Join(err, failed)
	}
	l.cfg.Logger.Warn("events are kept elsewhere until the next start", "file", l.cfg.Fallback, "err", err)
	l.found.Store(nil)
	l.db, l.problem = db, fmt.Errorf("events are not kept across a restart: %w", err)
	return nil
}

// Begin forgets everything, also on disk, and begins another log.
func (l *Log) Begin() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.pokes.poke()
	return l.replace(nil)
}

// replace begins another log in place of the one there is, which is removed, or, if it
// is damaged, moved aside. mu is held.
func (l *Log) replace(damage error) error {
	if l.db == nil {
		return ErrClosed
	}
	path := l.db.Path()
	err := l.db.Close()
	l.db = nil
	if damage != nil && err == nil {
		l.cfg.Logger.Warn("event log is damaged: it is moved aside, and begun anew", "file", path, "err", damage)
		err = moveAside(path)
	}
	var db *database
	if err == nil {
		db, err = beginDatabase(path)
	}
	if err != nil {
		return l.fallBack(err)
	}
	l.db = db
	l.found.Store(nil)
	return nil
}

// Problem says why the log is not where it belongs; nil if it is.
func (l *Log) Problem() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.problem
}

// Close lets go of the file. Whoever reads is told that the log is closed.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.pokes.poke()
	if l.db == nil {
		return nil
	}
	err := l.db.Close()
	l.db = nil
	return err
}

// view reads from the database.
func (l *Log) view(read func(*database) error) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.db == nil {
		return ErrClosed
	}
	err := l.db.guard(func() error { return read(l.db) })
	var damage damageError
	if errors.As(err, &damage) {
		l.found.Store(&damage)
	}
	return err
}

// Head is the place behind the last event, and of which mesh the log is; empty if of
// none. whole is false for a log that was begun and has nothing in it yet.
func (l *Log) Head() (at events.Revision, mesh string, whole bool, err error) {
	err = l.view(func(db *database) error {
		m, err := db.meta()
		at, mesh, whole = events.Revision{Log: m.id, Number: m.last}, m.mesh, m.whole
		return err
	})
	return at, mesh, whole, err
}

// Subscribe returns a channel that is poked after every change of the log. cancel
// ends it.
func (l *Log) Subscribe() (changed <-chan struct{}, cancel func()) { return l.pokes.subscribe() }

// pokes are the channels of those who wait. The zero value is ready.
type pokes struct {
	mu  sync.Mutex
	all map[chan struct{}]struct{}
}

func (p *pokes) poke() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.all {
		select {
		case c <- struct{}{}:
		default: // one is due already
		}
	}
}

func (p *pokes) subscribe() (changed <-chan struct{}, cancel func()) {
	c := make(chan struct{}, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = map[chan struct{}]struct{}{}
	}
	p.all[c] = struct{}{}
	return c, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.all, c)
	}
}
