package mesh

import (
	"fmt"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// blamed is how much was refused of a node, by reason.
func (m *Mesh) blamed(id NodeID) map[string]uint64 {
	out := map[string]uint64{}
	for _, r := range m.Refused() {
		if r.Node == id {
			out[r.Reason] = r.Count
		}
	}
	return out
}

// Who is to blame is named where that is proved, and nobody else is: neither whose name
// is used by another, nor who brings what an honest node may have.
func TestOnlyTheGuiltyAreBlamed(t *testing.T) {
	w := newWorld(t)
	edge, bringer := w.admit(w.ca, "edge", RoleEdge), w.admit(w.ca, "bringer", RoleEdge)
	w.told(w.signed(edge, w.record(edge)), w.signed(bringer, w.record(bringer)))
	endpoint := Record{Kind: KindEndpoint, Key: endpointKey(edge.cred.id, "e"), Payload: []byte("p")}
	forged := w.signed(edge, endpoint)
	forged.Signature[3] ^= 1
	future := endpoint
	future.Version = versionAt(w.now.Add(24 * time.Hour))
	for _, tt := range []struct {
		name   string
		env    *wire.Envelope
		from   NodeID
		guilty NodeID
		reason string
	}{
		{name: "a VPC by an edge", env: w.signed(edge, Record{Kind: KindVPC, Key: "v"}), from: bringer.cred.id, guilty: edge.cred.id, reason: refusedAuthor},
		{name: "a forged signature, by gossip", env: forged, reason: refusedSignature},
		{name: "a forged signature, brought", env: forged, from: bringer.cred.id, guilty: bringer.cred.id, reason: refusedSignature},
		{name: "no record, brought", env: &wire.Envelope{Body: []byte("x"), Signature: forged.GetSignature()}, from: bringer.cred.id, guilty: bringer.cred.id, reason: refusedMalformed},
		{name: "of the future, brought", env: w.signed(edge, future), from: bringer.cred.id, reason: refusedFuture},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := w.m.blamed(tt.guilty)[tt.reason]
			total := fmt.Sprint(w.m.blamed(edge.cred.id), w.m.blamed(bringer.cred.id))
			w.m.replica.applyFrom(tt.from, []*wire.Envelope{tt.env})
			if got := w.m.blamed(tt.guilty)[tt.reason]; got != before+1 {
				t.Errorf("%d blamed on %q, want %d: %v", got, tt.guilty, before+1, w.m.Refused())
			}
			if now := fmt.Sprint(w.m.blamed(edge.cred.id), w.m.blamed(bringer.cred.id)); tt.guilty == "" && now != total {
				t.Errorf("somebody is blamed: %s, was %s", now, total)
			}
		})
	}
	if r := w.m.Refused(); r[0].Last.IsZero() || w.m.Refusals()[refusedSignature] != 2 {
		t.Errorf("counted are %v, %v", r, w.m.Refusals())
	}
}

func TestANodeIsSeenSince(t *testing.T) {
	var s standings
	at := func(i int) time.Time { return time.Unix(int64(i), 0) }
	for i, tt := range []struct {
		state State
		want  time.Time
	}{
		{StateAlive, time.Time{}},
		{StateSuspect, at(1)},
		{StateSuspect, at(1)},
		{StateDead, at(3)},
		{StateDead, at(3)},
		{StateAlive, time.Time{}},
		{StateDead, at(6)},
	} {
		if got := s.see("x", tt.state, at(i)); !got.Equal(tt.want) {
			t.Errorf("step %d: %s since %v, want %v", i, tt.state, got, tt.want)
		}
	}
	if s.see("x", StateAlive, at(9)); len(s.of) > 0 {
		t.Errorf("of those alive it remembers %v", s.of)
	}
}

func TestWhoseRoomIsNearlyFullIsTold(t *testing.T) {
	w := newWorld(t)
	edge := w.admit(w.ca, "edge", RoleEdge)
	w.told(w.signed(edge, w.record(edge)))
	for i := range maxOwnedBytes / MaxPayload / 2 {
		w.told(w.signed(edge, Record{Kind: KindEndpoint, Key: endpointKey(edge.cred.id, fmt.Sprint(i)), Payload: make([]byte, MaxPayload)}))
	}
	if got := w.m.Crowded(0.8); len(got) != 0 {
		t.Errorf("at half: %v", got)
	}
	got := w.m.Crowded(0.4)
	if len(got) != 1 || got[0].Node != edge.cred.id || got[0].Records != maxOwnedBytes/MaxPayload/2 || got[0].Share() < 0.49 || got[0].Share() > 0.51 {
		t.Errorf("from 40 %%: %v", got)
	}
}
