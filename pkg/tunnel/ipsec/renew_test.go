package ipsec

import (
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

func TestWhenSAsAreRenewed(t *testing.T) {
	now := time.Unix(10_000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	sa := ikeSA{id: 1, state: "ESTABLISHED"}
	for _, c := range []struct {
		name  string
		turn  turn
		since time.Time
		sas   []ikeSA
		want  bool
	}{
		{name: "silent for a moment", turn: turn{can: true, lower: true}, since: ago(renewAfter - 1), sas: []ikeSA{sa}},
		{name: "silent for long", turn: turn{can: true, lower: true}, since: ago(renewAfter), sas: []ikeSA{sa}, want: true},
		{name: "the lower one is to try first", turn: turn{can: true}, since: ago(renewAfter), sas: []ikeSA{sa}},
		{name: "the lower one has not succeeded", turn: turn{can: true}, since: ago(renewAfter + patience), sas: []ikeSA{sa}, want: true},
		{name: "it has been tried", turn: turn{can: true, lower: true, renewed: ago(renewAgain - 1)}, since: ago(time.Hour), sas: []ikeSA{sa}},
		{name: "it was tried long ago", turn: turn{can: true, lower: true, renewed: ago(renewAgain)}, since: ago(time.Hour), sas: []ikeSA{sa}, want: true},
		{name: "it goes on", turn: turn{can: true, lower: true, moved: map[uint32]bool{1: true}}, since: ago(time.Hour), sas: []ikeSA{sa}},
		{name: "the peer has begun", turn: turn{can: true, lower: true}, since: ago(time.Hour), sas: []ikeSA{sa, {id: 2, state: "CONNECTING"}}},
		{name: "nobody knows where the peer is", turn: turn{lower: true}, since: ago(time.Hour), sas: []ikeSA{sa}},
		{name: "they are made in any case", turn: turn{can: true, lower: true}, since: ago(time.Hour)},
	} {
		c.turn.now = now
		if got := c.turn.renews(c.since, c.sas); got != c.want {
			t.Errorf("%s: it is time: %v", c.name, got)
		}
	}
}

func TestSeveralChildrenAreTooMany(t *testing.T) {
	now := time.Unix(10_000, 0)
	child := func(state string, age time.Duration) childSA { return childSA{state: state, installed: now.Add(-age)} }
	for _, c := range []struct {
		name     string
		lower    bool
		children []childSA
		want     bool
	}{
		{"one", true, []childSA{child("INSTALLED", time.Hour)}, false},
		{"one, and its predecessor", true, []childSA{child("INSTALLED", doubledAfter), child("REKEYED", time.Hour)}, false},
		{"two, just now", true, []childSA{child("INSTALLED", doubledAfter), child("INSTALLED", doubledAfter-1)}, false},
		{"two, for long", true, []childSA{child("INSTALLED", doubledAfter), child("INSTALLED", doubledAfter)}, true},
		{"two, and the lower one is to act", false, []childSA{child("INSTALLED", doubledAfter), child("INSTALLED", doubledAfter)}, false},
		{"two, and the lower one has not acted", false, []childSA{child("INSTALLED", 2*doubledAfter), child("INSTALLED", 2*doubledAfter)}, true},
	} {
		by := turn{can: true, lower: c.lower, now: now}
		if got := by.isDoubled([]ikeSA{{id: 1, state: "ESTABLISHED", children: c.children}}); got != c.want {
			t.Errorf("%s: it is doubled: %v", c.name, got)
		}
	}
}

func TestUserspaceRenewsWithoutLoss(t *testing.T) { renewsWithoutLoss(t, KindUserspace) }

func TestKernelRenewsWithoutLoss(t *testing.T) {
	requireKernel(t)
	renewsWithoutLoss(t, KindKernel)
}

// Who was believed to be silent, and was not, loses nothing by it.
func renewsWithoutLoss(t *testing.T, kind Kind) {
	t.Parallel() // most of its time is spent waiting
	h := newHarness(t, kind, 2)
	f := newFleet(t, h)
	f.full(t)
	stop := f.keep(t, 0, f.peer(1))
	f.keep(t, 1, f.peer(0))
	f.settled(t)
	before, err := readOf(t, f)
	if err != nil {
		t.Fatal(err)
	}
	there, back := h.Stream(t, tunneltest.Left), h.Stream(t, tunneltest.Right)
	stop()
	h.lab.Spaces[0].Must(t, func() error {
		return f.raw(0).Renew(t.Context(), f.keys[1].Public(), time.Now().Add(-time.Minute))
	})
	f.keep(t, 0, f.peer(1))
	f.awaitOther(t, before)
	f.settled(t)
	sent1, received1 := there()
	sent2, received2 := back()
	t.Logf("renewed: %d of %d datagrams arrived there, %d of %d back", received1, sent1, received2, sent2)
	replacing(t, sent1-received1, sent2-received2)
}

// Renewing is nothing to a peer that is not there, and to one that has no SAs yet.
func TestThereMayBeNothingToRenew(t *testing.T) {
	f := newFleet(t, newHarness(t, KindUserspace, 2))
	stranger := tunnel.PublicKey{7}
	h := f.lab.Spaces[0]
	h.Must(t, func() error { return f.raw(0).Renew(t.Context(), stranger, time.Now().Add(-time.Hour)) })
}
