package mesh

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// intruder is somebody who has got hold of the gossip key.
func intruder(t *testing.T, in *member, name string, says *broadcast) *memberlist.Memberlist {
	t.Helper()
	cfg := memberlist.DefaultLocalConfig()
	cfg.Name, cfg.Label = name, string(in.mesh)
	cfg.BindAddr = loopback().String()
	cfg.AdvertiseAddr, cfg.EnableCompression = cfg.BindAddr, false
	cfg.SecretKey = in.keys.keys[0].secret.bytes
	cfg.Logger = log.New(io.Discard, "", 0)
	queue := &memberlist.TransmitLimitedQueue{RetransmitMult: 4, NumNodes: func() int { return 3 }}
	queue.QueueBroadcast(says)
	cfg.Delegate = intruderDelegate{queue}
	list, err := memberlist.Create(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := list.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	return list
}

// intruderDelegate says what is queued.
type intruderDelegate struct {
	queue *memberlist.TransmitLimitedQueue
}

func (intruderDelegate) NodeMeta(int) []byte           { return nil }
func (intruderDelegate) NotifyMsg([]byte)              {}
func (intruderDelegate) LocalState(bool) []byte        { return []byte("nonsense") }
func (intruderDelegate) MergeRemoteState([]byte, bool) {}
func (d intruderDelegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.queue.GetBroadcasts(overhead, limit)
}

// The gossip key alone buys nothing: who was never admitted is no node, and
// what he says in another's name is refused.
func TestTheGossipKeyAloneBuysNothing(t *testing.T) {
	hosts := newMesh(t, "centre", "edge")
	key := hosts[1].put("web", "true")
	hosts[0].has(KindEndpoint, key, "true")
	e := hosts[1].replica.table.get(ref{KindEndpoint, key})
	var body wire.Body
	if err := wire.Unmarshal(e.body, &body); err != nil {
		t.Fatal(err)
	}
	body.Version, body.Payload = body.GetVersion()+1, []byte("forged")
	forged, err := wire.Marshal(&body)
	if err != nil {
		t.Fatal(err)
	}
	message, err := encodeEnvelope(&wire.Envelope{Body: forged, Signature: e.signature[:]})
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Repeat("ab", idDigits/2)
	list := intruder(t, hosts[0].current(), name, &broadcast{name: "x", message: message})
	for _, h := range hosts {
		addr, _ := h.gossipAddr(h.id)
		if _, err := list.Join([]string{addr}); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range hosts {
		eventually(t, 10*time.Second, h.Mesh, func() error {
			if h.session.members.state(NodeID(name)) != StateAlive {
				return fmt.Errorf("%s does not know the intruder in gossip", h.cfg.Name)
			}
			return nil
		})
	}
	eventuallyPolled(t, func() error {
		if hosts[0].Refusals()[refusedSignature] == 0 {
			return fmt.Errorf("the forged record was not refused: %v", hosts[0].Refusals())
		}
		return nil
	})
	for _, h := range hosts {
		h.has(KindEndpoint, key, "true")
		if nodes := h.Nodes(); len(nodes) != 2 {
			t.Errorf("%s sees %v", h.cfg.Name, nodes)
		}
	}
}

// eventuallyPolled waits for a condition of which nothing tells.
func eventuallyPolled(t *testing.T, cond func() error) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	over := time.After(30 * time.Second)
	for {
		err := cond()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-over:
			t.Fatal(err)
		}
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	key, err := newKey(t.TempDir() + "/key")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "key", key, "in", struct{ K privateKey }{key})
	text, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	said := out.String() + string(text) + fmt.Sprintf("%v %+v %#v %s %x %d %q", key, key, key, key, key, key, &key)
	for _, form := range []string{"%x", "%d"} {
		part := strings.Trim(fmt.Sprintf(form, []byte(key.key[:8])), "[]")
		if strings.Contains(said, part) {
			t.Errorf("the key prints: %s", said)
		}
	}
	if !strings.Contains(said, "redacted") {
		t.Errorf("nothing says that it is left out: %s", said)
	}
}
