package ipsec

import (
	"slices"
	"testing"
	"time"
)

func TestWhoseTurnItIs(t *testing.T) {
	now := time.Unix(10_000, 0)
	old := now.Add(-time.Minute)
	up := func(id uint32, installed time.Time) ikeSA {
		return ikeSA{id: id, state: "ESTABLISHED", children: []childSA{{state: "INSTALLED", installed: installed}}}
	}
	connecting := ikeSA{id: 9, state: "CONNECTING"}
	for _, c := range []struct {
		name  string
		turn  turn
		sas   []ikeSA
		begin bool
		end   []uint32
	}{
		{name: "the lower one begins", turn: turn{lower: true, can: true}, begin: true},
		{name: "the higher one waits", turn: turn{can: true, alone: now.Add(-patience + 1)}},
		{name: "the higher one has waited", turn: turn{can: true, alone: now.Add(-patience)}, begin: true},
		{name: "the higher one was woken, and the child ended", turn: turn{can: true, woken: now.Add(-patience + 1)}, sas: []ikeSA{{id: 1, state: "ESTABLISHED"}}, begin: true},
		{name: "the higher one was woken long ago", turn: turn{can: true, woken: now.Add(-patience)}, sas: []ikeSA{{id: 1, state: "ESTABLISHED"}}},
		{name: "charon was just started", turn: turn{can: true, fresh: true}, begin: true},
		{name: "nobody knows where the peer is", turn: turn{lower: true, fresh: true}},
		{name: "it was tried just now", turn: turn{lower: true, can: true, tried: now.Add(-retryAfter + 1)}},
		{name: "it was tried a while ago", turn: turn{lower: true, can: true, tried: now.Add(-retryAfter)}, begin: true},
		{name: "it is under way", turn: turn{lower: true, can: true}, sas: []ikeSA{connecting}},
		{name: "it is done", turn: turn{lower: true, can: true}, sas: []ikeSA{up(1, old)}},
		{name: "the child failed", turn: turn{lower: true, can: true}, sas: []ikeSA{{id: 1, state: "ESTABLISHED"}}, begin: true},
		{
			name: "it is ending", turn: turn{lower: true, can: true}, begin: true,
			sas: []ikeSA{{id: 1, state: "DELETING", children: []childSA{{state: "INSTALLED"}}}},
		},
		{name: "both began", turn: turn{lower: true, can: true}, sas: []ikeSA{up(1, old), up(2, old)}, end: []uint32{1}},
		{
			name: "both began, and the other one decides", turn: turn{can: true},
			sas: []ikeSA{up(1, old), up(2, now.Add(-linger+1))},
		},
		{
			name: "the other one does not know of the older one", turn: turn{can: true},
			sas: []ikeSA{up(1, old), up(2, now.Add(-linger))}, end: []uint32{1},
		},
		{name: "the newer one is not sure yet", turn: turn{lower: true, can: true}, sas: []ikeSA{up(1, old), up(2, now)}},
		{
			name: "the endpoint has changed", turn: turn{can: true, moved: map[uint32]bool{1: true}},
			sas: []ikeSA{up(1, old)}, begin: true,
		},
		{
			name: "the peer is at its new endpoint", turn: turn{can: true, moved: map[uint32]bool{1: true}},
			sas: []ikeSA{up(1, old), up(2, old)}, end: []uint32{1},
		},
		{
			name: "the peer has not come to its new endpoint yet", turn: turn{can: true, moved: map[uint32]bool{1: true}},
			sas: []ikeSA{up(1, old), connecting},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.turn.now = now
			got := c.turn.decide(c.sas)
			if got.begin != c.begin || !slices.Equal(got.end, c.end) {
				t.Errorf("got %+v, want to begin %v and end %v", got, c.begin, c.end)
			}
		})
	}
}
