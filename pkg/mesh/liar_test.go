package mesh

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// liarEnv makes this test binary a modified daemon: instead of running tests it
// takes the part of the node whose state directory the variable's liarConfig names,
// with that node's real key, certificate and gossip key, by the real code of this
// package, and tells the lies that it is asked for. test/netns has it lie to daemons
// that are not modified (TestALyingNodeIsNotBelieved).
const liarEnv = "EDGENET_MESH_LIAR"

// liarConfig is the value of liarEnv, as JSON.
type liarConfig struct {
	StateDir, Name string
	Underlay       netip.Addr
}

// liarOrder is a line of standard input, as JSON: which lie is to be told, and what
// it is about. What a lie does not need is left out.
type liarOrder struct {
	Lie string
	// Victim is the name of the node that it is about.
	Victim string
	// Payload is what a record says, Key its key.
	Payload []byte
	Key     string
	Token   string
	// Count is how often, or how much.
	Count int
}

// liarAnswer is a line of standard output for each order.
type liarAnswer struct {
	Error string
	// Said is how many messages have left for others.
	Said int
}

// liar is a node that was taken over.
type liar struct {
	*Mesh
	s   *session
	cfg liarConfig
	// kept are envelopes that were true once.
	kept []*wire.Envelope
	said int
	// moments makes those that it gives out differ.
	moments uint64
	// open are connections that it holds until it ends.
	open []io.Closer
}

// A lie is told to all other nodes.
type lie func(l *liar, o *liarOrder) error

// runLiar takes part in the mesh and obeys until standard input ends.
func runLiar(text string) int {
	if err := lieAsAsked(text, os.Stdin, os.Stdout); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "liar:", err)
		return 1
	}
	return 0
}

func lieAsAsked(text string, in io.Reader, out io.Writer) error {
	var cfg liarConfig
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return fmt.Errorf("decode %s: %w", liarEnv, err)
	}
	m, err := Open(Config{
		StateDir: cfg.StateDir, Name: cfg.Name, Links: []Link{{Addr: cfg.Underlay}},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	select {
	case <-m.Ready():
	case err := <-done:
		cancel()
		return err
	}
	l := &liar{Mesh: m, s: m.session, cfg: cfg}
	err = l.obey(in, out)
	for _, c := range l.open {
		_ = c.Close()
	}
	cancel()
	if ended := <-done; err == nil {
		err = ended
	}
	if closed := m.Close(); err == nil {
		err = closed
	}
	return err
}

// obey tells a lie for each line.
func (l *liar) obey(in io.Reader, out io.Writer) error {
	answers := json.NewEncoder(out)
	lines := bufio.NewScanner(in)
	for lines.Buffer(nil, 1<<20); lines.Scan(); {
		var o liarOrder
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return fmt.Errorf("decode order: %w", err)
		}
		l.said = 0
		var answer liarAnswer
		if tell := lies()[o.Lie]; tell == nil {
			answer.Error = "no such lie: " + o.Lie
		} else if err := tell(l, &o); err != nil {
			answer.Error = err.Error()
		}
		answer.Said = l.said
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

// lies returns all lies by name.
func lies() map[string]lie {
	out := make(map[string]lie)
	for _, part := range []map[string]lie{recordLies, lifeLies, gossipLies, peerLies} {
		for name, l := range part {
			out[name] = l
		}
	}
	return out
}

// others are the nodes that are to believe it.
func (l *liar) others() []Node {
	var out []Node
	for _, n := range l.Nodes() {
		if !n.Local && n.State != StateLeft {
			out = append(out, n)
		}
	}
	return out
}

// victim is the node that a lie is about.
func (l *liar) victim(o *liarOrder) (Node, error) {
	n, ok := l.Node(o.Victim)
	if !ok || n.Local {
		return Node{}, fmt.Errorf("find victim %q: %w", o.Victim, ErrUnknownNode)
	}
	return n, nil
}

// whisper sends a gossip message to every other node.
func (l *liar) whisper(b []byte) error {
	for _, n := range l.others() {
		addr, ok := l.gossipAddr(n.ID)
		if !ok {
			return fmt.Errorf("send to %s: no address", n.Name)
		}
		l.s.sendTo(addr, n.ID, b)
		l.said++
	}
	return nil
}

// tell brings records to every other node, by gossip and over the peer API.
func (l *liar) tell(envelopes ...*wire.Envelope) error {
	for _, env := range envelopes {
		b, err := encodeEnvelope(env)
		if err != nil {
			return err
		}
		if len(b) > maxGossip {
			continue
		}
		if err := l.whisper(b); err != nil {
			return err
		}
	}
	return l.bring(l.others(), envelopes)
}

// body is that of a record of the liar's, newer than everything. What of it is a lie
// is changed by the caller.
func (l *liar) body(kind Kind, key string, payload []byte) *wire.Body {
	b := &wire.Body{Kind: string(kind), Key: key, Version: uint64(l.replica.clock.now()), Node: l.id.bytes(), Payload: payload}
	if kind == KindNode {
		b.Certificate = l.current().self.der
	}
	return b
}

// sign signs whatever the body says, with the liar's own key.
func (l *liar) sign(body *wire.Body) (*wire.Envelope, error) {
	b, err := wire.Marshal(body)
	if err != nil {
		return nil, err
	}
	return (&node{key: l.key}).sign(b), nil
}

// claim signs bodies and tells them.
func (l *liar) claim(bodies ...*wire.Body) error {
	var envelopes []*wire.Envelope
	for _, body := range bodies {
		env, err := l.sign(body)
		if err != nil {
			return err
		}
		envelopes = append(envelopes, env)
	}
	return l.tell(envelopes...)
}

// bodyOf decodes a record as its author signed it.
func bodyOf(e *entry) (*wire.Body, error) {
	var b wire.Body
	if err := wire.Unmarshal(e.body, &b); err != nil {
		return nil, err
	}
	return &b, nil
}
