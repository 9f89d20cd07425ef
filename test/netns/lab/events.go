package lab

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
)

// Event is what programs read of edgenetctl events.
type Event struct {
	Event, Message, Revision string
	Node                     struct{ Name string }
}

// EventFollow is edgenetctl events --follow on a host.
type EventFollow struct {
	host *Host

	mu   sync.Mutex
	seen []Event
	end  string
}

// FollowsEvents follows the host's events about nodes from the first one that is
// stored, until the test ends.
func (h *Host) FollowsEvents() *EventFollow {
	h.lab.t.Helper()
	cmd := exec.Command(Program("edgenetctl"), "--socket", h.Socket(), "events", "--follow", "--kind", "node", "-o", "json")
	cmd.Env = environment()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		h.lab.t.Fatalf("follow events on %s: %v", h.Name, err)
	}
	f := &EventFollow{host: h}
	var reading sync.WaitGroup
	reading.Go(func() {
		lines := bufio.NewScanner(out)
		for lines.Buffer(nil, 1<<20); lines.Scan(); {
			f.note(lines.Bytes())
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.end = fmt.Sprintf("; it has ended: %v", lines.Err())
	})
	h.lab.t.Cleanup(func() {
		_ = cmd.Process.Kill() // which is the error it ends with
		reading.Wait()         // the pipe has to be read before it is waited for
		_ = cmd.Wait()
	})
	return f
}

func (f *EventFollow) note(line []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var e Event
	if err := json.Unmarshal(line, &e); err != nil {
		e.Event = "unreadable: " + string(line)
	}
	f.seen = append(f.seen, e)
}

// Tells waits for an event about a host.
func (f *EventFollow) Tells(event string, of *Host) {
	f.host.lab.t.Helper()
	Await(f.host.lab.t, f.host.Name+" tells "+event+" of "+of.Name, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if slices.ContainsFunc(f.seen, func(e Event) bool { return e.Event == event && e.Node.Name == of.Name }) {
			return nil
		}
		return fmt.Errorf("told were %+v%s", f.seen, f.end)
	})
}

// MissesNothing compares what was followed with what is stored: the same, in the same
// order, without a gap or a repeat.
func (f *EventFollow) MissesNothing() {
	f.host.lab.t.Helper()
	stored := strings.Split(strings.TrimSpace(f.host.MustCtl("events", "--kind", "node", "-o", "json")), "\n")
	Await(f.host.lab.t, "all that is stored was followed", func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		for i, line := range stored {
			var want Event
			if err := json.Unmarshal([]byte(line), &want); err != nil {
				return err
			}
			if i >= len(f.seen) || f.seen[i] != want {
				return fmt.Errorf("stored are\n%s\nbut followed were %+v%s", strings.Join(stored, "\n"), f.seen, f.end)
			}
		}
		return nil
	})
}
