package lab

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"strings"
	"time"
)

// TunnelEvent is what programs read of edgenetctl tunnel watch.
type TunnelEvent struct {
	Time                     time.Time
	Type, Node, Was, Is, Why string
}

// TunnelWatch is edgenetctl tunnel watch on a host, of the tunnel to another.
type TunnelWatch struct {
	host, to *Host
	events   chan TunnelEvent
	// seen are those that were read so far.
	seen []string
	// since is when the events begin that are of interest.
	since time.Time
}

// WatchesTunnel watches the tunnel to another host until the test ends.
func (h *Host) WatchesTunnel(to *Host) *TunnelWatch {
	h.lab.t.Helper()
	cmd := exec.Command(Program("edgenetctl"), "--socket", h.Socket(), "tunnel", "watch", "--node", to.Name, "-o", "json")
	cmd.Env = environment()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		h.lab.t.Fatalf("watch tunnels on %s: %v", h.Name, err)
	}
	w := &TunnelWatch{host: h, to: to, events: make(chan TunnelEvent, 1000)}
	go func() {
		defer close(w.events)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var line struct{ Event TunnelEvent }
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				line.Event.Type = "unreadable: " + lines.Text()
			}
			w.events <- line.Event
		}
	}()
	h.lab.t.Cleanup(func() {
		_ = cmd.Process.Kill() // which is the error it ends with
		for range w.events {   // the pipe has to be read before it is waited for
		}
		_ = cmd.Wait()
	})
	return w
}

// FromNow has events not count that were found before.
func (w *TunnelWatch) FromNow() { w.since = time.Now() }

// Tells waits for an event of a type whose words have a text in them, and returns
// it. Others may be before it.
func (w *TunnelWatch) Tells(kind, text string) TunnelEvent {
	w.host.lab.t.Helper()
	late := time.After(patience)
	for {
		select {
		case e, more := <-w.events:
			if !more {
				w.host.lab.t.Fatalf("%s: the watch ended before it told of %s with %q", w.host, kind, text)
			}
			words := strings.Join([]string{e.Type, e.Was, e.Is, e.Why}, " | ")
			if w.seen = append(w.seen, words); e.Type == kind && strings.Contains(words, text) && !e.Time.Before(w.since) {
				if e.Node != w.to.Name && e.Type != "synced" {
					w.host.lab.t.Errorf("%s: the event is of %s, not %s: %s", w.host, e.Node, w.to, words)
				}
				return e
			}
		case <-late:
			w.host.lab.t.Fatalf("%s is not told of %s with %q, but of\n%s", w.host, kind, text, strings.Join(w.seen, "\n"))
		}
	}
}
