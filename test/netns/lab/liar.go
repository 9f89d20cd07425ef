package lab

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Liar is a modified daemon in the place of a host's: it has the host's key,
// certificate and gossip key, and says what it is told to. It is the test binary of
// pkg/mesh (liar_test.go there has what it knows), so it is the real code as far as
// it does not lie. The host's tunnels and datapath stay as the daemon left them.
type Liar struct {
	host    *Host
	cmd     *exec.Cmd
	orders  io.WriteCloser
	answers *bufio.Scanner
	log     *os.File
}

// Lie says which lie is to be told, and what it is about.
type Lie struct {
	// Lie is its name in pkg/mesh.
	Lie string
	// Victim is the name of the node that it is about.
	Victim  string
	Payload []byte
	Key     string
	Token   string
	Count   int
}

// lieTime bounds the telling of one lie.
var lieTime = 120 * time.Second * slowness

// Modified ends the host's daemon as a crash would and puts a liar in its place, until
// the test ends.
func (h *Host) Modified() *Liar {
	h.lab.t.Helper()
	program := filepath.Join(h.dir, "liar")
	root, err := moduleRoot()
	if err == nil {
		err = buildTest(root, program, "./pkg/mesh")
	}
	if err != nil {
		h.lab.t.Fatalf("build the modified daemon: %v", err)
	}
	h.Kill()
	l := &Liar{host: h}
	if err := l.start(program); err != nil {
		h.lab.t.Fatalf("start the modified daemon on %s: %v", h.Name, err)
	}
	h.lab.t.Cleanup(l.end)
	return l
}

// buildTest is go test -c from the directory of go.mod.
func buildTest(root, into, pkg string) error {
	cmd := exec.Command("go", "test", "-c", "-o", into, pkg)
	cmd.Dir = root
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build tests of %s: %w\n%s", pkg, err, output)
	}
	return nil
}

func (l *Liar) start(program string) error {
	config, err := json.Marshal(struct {
		StateDir, Name string
		Underlay       netip.Addr
	}{l.host.StateDir(), l.host.Name, l.host.Underlay})
	if err != nil {
		return err
	}
	l.cmd = exec.Command(program)
	l.cmd.Dir = l.host.dir
	l.cmd.Env = append(environment(), "EDGENET_MESH_LIAR="+string(config))
	if l.log, err = os.Create(l.logPath()); err != nil {
		return err
	}
	l.cmd.Stderr = l.log
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if l.orders, err = l.cmd.StdinPipe(); err != nil {
		return err
	}
	l.answers = bufio.NewScanner(out)
	return startIn(l.host.ns.path, l.cmd)
}

func (l *Liar) logPath() string { return filepath.Join(l.host.dir, "liar.log") }

// end ends the liar, and shows what it said if the test has failed.
func (l *Liar) end() {
	late := time.AfterFunc(lieTime, func() { _ = l.cmd.Process.Kill() })
	defer late.Stop()
	_ = l.orders.Close()
	for l.answers.Scan() {
		continue // The pipe has to be read before it is waited for.
	}
	if err := errors.Join(l.cmd.Wait(), l.log.Close()); err != nil {
		l.host.lab.t.Errorf("end the modified daemon of %s: %v", l.host.Name, err)
	}
	if !l.host.lab.t.Failed() {
		return
	}
	if log, err := os.ReadFile(l.logPath()); err == nil {
		l.host.lab.t.Logf("the modified daemon of %s said last:\n%s", l.host.Name, log[max(0, len(log)-8<<10):])
	}
}

// Tells has it tell a lie, and returns how many messages that took. A lie that could
// not be told ends the test.
func (l *Liar) Tells(lie Lie) int {
	l.host.lab.t.Helper()
	late := time.AfterFunc(lieTime, func() { _ = l.cmd.Process.Kill() })
	defer late.Stop()
	order, err := json.Marshal(lie)
	if err == nil {
		_, err = l.orders.Write(append(order, '\n'))
	}
	if err != nil {
		l.host.lab.t.Fatalf("have %s tell %q: %v", l.host.Name, lie.Lie, err)
	}
	var answer struct {
		Error string
		Said  int
	}
	if !l.answers.Scan() {
		l.host.lab.t.Fatalf("have %s tell %q: it has ended, or does not answer within %s", l.host.Name, lie.Lie, lieTime)
	}
	if err := json.Unmarshal(l.answers.Bytes(), &answer); err != nil {
		l.host.lab.t.Fatalf("have %s tell %q: %v in %q", l.host.Name, lie.Lie, err, l.answers.Text())
	}
	if answer.Error != "" {
		l.host.lab.t.Fatalf("have %s tell %q: %s", l.host.Name, lie.Lie, answer.Error)
	}
	return answer.Said
}
