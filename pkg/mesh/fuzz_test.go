package mesh

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// newReplica returns a replica that trusts one authority and has no disk.
func newReplica(tb testing.TB) (*replica, *authority) {
	tb.Helper()
	ca, err := newAuthority(tb.TempDir(), DefaultCertificateLife, time.Now())
	if err != nil {
		tb.Fatal(err)
	}
	r := &replica{
		log: slog.New(slog.DiscardHandler), table: newTable(), clock: &hlc{wall: time.Now}, now: time.Now, times: newPeerTime(time.Now),
		dirty: make(map[ref]struct{}), flush: make(chan struct{}, 1),
	}
	r.setTrust(ca.trustAnchor)
	return r, ca
}

func FuzzToken(f *testing.F) {
	f.Add("edgenet1.")
	f.Add("edgenet1.CiA")
	f.Fuzz(func(t *testing.T, text string) {
		tok, err := parseToken(text)
		if err != nil {
			wantError(t, err, ErrTokenMalformed)
			return
		}
		if again, err := tok.format(); err != nil || again != text {
			t.Errorf("%q became %q, %v", text, again, err)
		}
	})
}

func FuzzEnvelope(f *testing.F) {
	r, ca := newReplica(f)
	key, err := newKey(f.TempDir() + "/key")
	if err != nil {
		f.Fatal(err)
	}
	c, err := ca.issue(key.public(), "edge", []Role{RoleEdge}, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	info := &nodeInfo{name: "edge", links: []Link{{Addr: loopback()}}, gossipPort: 1, peerPort: 2}
	payload, err := info.encode()
	if err != nil {
		f.Fatal(err)
	}
	for _, rec := range []Record{
		{Kind: KindNode, Key: string(c.id), Version: 1, Node: c.id, Payload: payload},
		{Kind: KindEndpoint, Key: endpointKey(c.id, "e"), Version: 1, Node: c.id, Payload: []byte("p")},
		{Kind: KindEndpoint, Key: endpointKey(c.id, "e"), Version: 2, Node: c.id, Deleted: true},
	} {
		e, err := sign(rec, c, key)
		if err != nil {
			f.Fatal(err)
		}
		b, err := wire.Marshal(e.envelope())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var env wire.Envelope
		if wire.Unmarshal(b, &env) != nil {
			return
		}
		e, err := newEntry(&env)
		if err == nil && (checkKey(e.Kind, e.Key) != nil || len(e.Payload) > MaxPayload) {
			t.Errorf("accepted %+v", e.Record)
		}
		r.apply([]*wire.Envelope{&env})
		again, err := wire.Marshal(&env)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("two forms of one envelope: %x and %x, %v", b, again, err)
		}
	})
}

func FuzzNodeInfo(f *testing.F) {
	info := &nodeInfo{name: "edge", links: []Link{{Addr: loopback(), Carrier: "lo"}}, gossipPort: 1, peerPort: 2, version: "v", announcement: []byte("a")}
	b, err := info.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := decodeNodeInfo(b)
		if err != nil {
			return
		}
		if again, err := info.encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x became %x, %v", b, again, err)
		}
	})
}

func FuzzGossip(f *testing.F) {
	id := NodeID("0123456789abcdef0123456789abcdef01234567")
	for _, e := range []*entry{nil, {Record: Record{Kind: KindVPC, Key: "v", Version: 3}}} {
		b, err := encodeHint(e, id)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	b, err := encodeEnvelope(&wire.Envelope{Body: []byte("b"), Signature: []byte("s")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	for _, m := range []*wire.Gossip{
		{Message: &wire.Gossip_Digest{Digest: &wire.Digest{
			Sender: id.bytes(), Cut: 1 << 40, Settled: 7, Recent: []uint64{1, 2}, Members: 3, Answer: true,
		}}},
		{Message: &wire.Gossip_Digest{Digest: &wire.Digest{Sender: id.bytes(), Recent: make([]uint64, maxListed+1)}}},
		{Message: &wire.Gossip_Want{Want: &wire.Want{Sender: id.bytes(), Hashes: []uint64{1, 2}}}},
		{Message: &wire.Gossip_Want{Want: &wire.Want{Sender: id.bytes()}}},
	} {
		b, err := wire.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeGossip(b)
		if err != nil {
			return
		}
		set := 0
		for _, is := range []bool{m.envelope != nil, m.hint != nil, m.digest != nil, m.want != nil} {
			if is {
				set++
			}
		}
		switch {
		case set != 1:
			t.Errorf("%d messages in one", set)
		case m.hint != nil && !m.hint.sender.Valid(),
			m.digest != nil && (!m.digest.sender.Valid() || len(m.digest.recent) > maxListed),
			m.want != nil && (!m.want.sender.Valid() || len(m.want.hashes) == 0 || len(m.want.hashes) > maxListed):
			t.Errorf("accepted %+v", m)
		}
	})
}

func FuzzSync(f *testing.F) {
	r, _ := newReplica(f)
	m := &Mesh{replica: r}
	for _, msg := range []*wire.SyncRequest{
		{Digests: r.table.digest()},
		{Want: []*wire.Ref{{Kind: "vpc", Key: "v"}}},
		{Records: []*wire.Envelope{{Body: []byte("b"), Signature: make([]byte, 64)}}},
	} {
		b, err := wire.Marshal(msg)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	b, err := wire.Marshal(&wire.SyncResponse{Buckets: []*wire.Bucket{{Index: 3, Entries: []*wire.Summary{{Kind: "vpc", Key: "v"}}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var req wire.SyncRequest
		if wire.Unmarshal(b, &req) == nil {
			if answer, err := m.answerSync("", &req); err == nil && len(answer.GetRecords()) > len(req.GetWant()) {
				t.Errorf("%d records for %d wants", len(answer.GetRecords()), len(req.GetWant()))
			}
		}
		var answer wire.SyncResponse
		if wire.Unmarshal(b, &answer) == nil {
			_, want, err := r.compare(answer.GetBuckets())
			if err != nil && len(want) > 0 {
				t.Error("wants in spite of an error")
			}
		}
	})
}

func FuzzRequest(f *testing.F) {
	key, err := newKey(f.TempDir() + "/key")
	if err != nil {
		f.Fatal(err)
	}
	b, err := newRequest(key, "edge")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		ask, err := parseRequest(b)
		if err == nil && !ask.id.Valid() {
			t.Errorf("a request by %q", ask.id)
		}
	})
}
