package eventlog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/events"
)

// follower reads a log, is cut off, resumes, and may begin with what there is.
type follower struct {
	random *rand.Rand
	at     events.Revision
	seen   []uint64
	// objects are what it believes there is.
	objects map[string]int
}

// list takes what there is.
func (f *follower) list(t *testing.T, l *Log) {
	at, objects, err := l.Objects()
	if err != nil {
		t.Error(err)
	}
	f.at, f.seen, f.objects = at, nil, map[string]int{}
	for _, o := range objects {
		m, err := o.Decode()
		if err != nil {
			t.Error(err)
		}
		f.objects[m.GetVpc().GetName()] = len(m.GetVpc().GetCidrs())
	}
}

func (f *follower) take(at events.Revision, e *api.WatchResponse) {
	f.at, f.seen = at, append(f.seen, at.Number)
	name := e.GetVpc().GetName()
	if f.objects[name] = len(e.GetVpc().GetCidrs()); e.GetType() == events.Deleted {
		delete(f.objects, name)
	}
}

// follow reads until ctx ends, or a random number of events are read.
func (f *follower) follow(ctx context.Context, l *Log) error {
	cut := errors.New("cut off")
	left := f.random.IntN(30)
	err := l.Follow(ctx, f.at, nil, func(at events.Revision, e *api.WatchResponse) error {
		if left--; left < 0 {
			return cut // this one is not received
		}
		f.take(at, e)
		return nil
	})
	if errors.Is(err, cut) || errors.Is(err, ErrClosed) {
		return nil
	}
	return err
}

// Whatever is cut off when: what a follower sees is the log, without a gap or a
// repeat, and makes of what it listed what there is.
func TestFollowersSeeTheLog(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			path := filepath.Join(t.TempDir(), "events.db")
			cfg := Config{Path: path, MaxEvents: 1000}
			l := open(t, cfg)
			commit(t, l, vpc("v0", 1))
			followers := make([]*follower, 3)
			for i := range followers {
				followers[i] = &follower{random: rand.New(rand.NewPCG(seed, uint64(i)+2))}
				followers[i].list(t, l)
			}
			first := head(t, l).Number
			for range 5 {
				end := life(t, l, random, followers)
				if random.IntN(2) == 0 {
					end()
				}
				if err := l.Close(); err != nil { // under those who read, if they still do
					t.Fatal(err)
				}
				end()
				l = open(t, cfg)
			}
			for i, f := range followers {
				settleFollower(t, l, f)
				f.sawAll(t, l, i, first)
			}
		})
	}
}

// sawAll compares what a follower saw since a revision, and what it believes there is,
// with the log.
func (f *follower) sawAll(t *testing.T, l *Log, i int, first uint64) {
	t.Helper()
	var want []uint64
	for n := first + 1; n <= head(t, l).Number; n++ {
		want = append(want, n)
	}
	if !slices.Equal(f.seen, want) {
		t.Errorf("follower %d saw %d events, not %d: %v", i, len(f.seen), len(want), f.seen)
	}
	there := &follower{}
	there.list(t, l)
	if fmt.Sprint(there.objects) != fmt.Sprint(f.objects) || there.at != f.at {
		t.Errorf("follower %d has at %s %v, there is at %s %v", i, f.at, f.objects, there.at, there.objects)
	}
}

// life commits random changes while followers read, each cut off and resuming at random.
// They do until it is ended.
func life(t *testing.T, l *Log, random *rand.Rand, followers []*follower) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	for _, f := range followers {
		reading.Go(func() {
			for ctx.Err() == nil {
				if err := f.follow(ctx, l); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 10 {
		var changes []Change
		for range random.IntN(5) {
			changes = append(changes, vpc(fmt.Sprint("v", random.IntN(6)), random.IntN(4)))
		}
		commit(t, l, changes...)
	}
	return func() {
		cancel()
		reading.Wait()
	}
}

// settleFollower lets a follower read all that is left.
func settleFollower(t *testing.T, l *Log, f *follower) {
	for f.at != head(t, l) {
		ctx, cancel := context.WithCancel(t.Context())
		err := l.Follow(ctx, f.at, func(events.Revision) error {
			cancel()
			return nil
		}, func(at events.Revision, e *api.WatchResponse) error {
			f.take(at, e)
			return nil
		})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A follower that does not read holds nobody up, and is told what it has missed.
func TestASlowFollowerIsCutOff(t *testing.T) {
	l := open(t, Config{Path: filepath.Join(t.TempDir(), "events.db"), MaxEvents: 10})
	commit(t, l)
	started, goOn := make(chan struct{}), make(chan struct{})
	done := make(chan error)
	from := head(t, l)
	go func() {
		done <- l.Follow(t.Context(), from, nil, func(at events.Revision, _ *api.WatchResponse) error {
			if at.Number == 1 {
				close(started)
				<-goOn
			}
			return nil
		})
	}()
	commit(t, l, vpc("blue", 1))
	<-started
	for i := range 50 {
		commit(t, l, vpc("blue", i+2))
	}
	close(goOn)
	if err := <-done; !errors.Is(err, ErrForgotten) {
		t.Errorf("got %v", err)
	}
}
