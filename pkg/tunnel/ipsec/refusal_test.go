package ipsec

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongswan/govici/vici"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

func TestRefusalsInWords(t *testing.T) {
	for line, want := range map[string]string{
		"received AUTHENTICATION_FAILED notify error":                     "the peer answers AUTHENTICATION_FAILED: it does not take",
		"received NO_PROPOSAL_CHOSEN notify error":                        "the peer answers NO_PROPOSAL_CHOSEN: it has no cipher in common",
		"received TS_UNACCEPTABLE notify, no CHILD_SA built":              "the peer answers TS_UNACCEPTABLE: it has other prefixes",
		"received FAILED_CP_REQUIRED notify error":                        "the peer answers FAILED_CP_REQUIRED",
		"no trusted ED25519 public key found for '0a'":                    "the other end does not prove that it has this node's key (charon: no trusted",
		"unable to install inbound and outbound IPsec SA (SAD) in kernel": "this host does not take the SAs (charon: unable",
		"traffic selectors fd00::/64 === fd01::/64  unacceptable":         "the other end wants other prefixes",
		"received TEMPORARY_FAILURE notify error":                         "",
		"received TEMPORARY_FAILURE notify, will retry later":             "",
		"received CHILD_SA_NOT_FOUND notify error":                        "",
		"sending keep alive to 198.18.0.2[4500]":                          "",
		"authentication of '0a' with ED25519 successful":                  "",
		"": "",
	} {
		if got, _ := refusalIn(line); !strings.HasPrefix(got, want) || got != "" && want == "" {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

func event(t *testing.T, name, line string, id ...string) *vici.Message {
	t.Helper()
	m := vici.NewMessage()
	for key, value := range map[string]string{"ikesa-name": name, "msg": line, "ikesa-uniqueid": strings.Join(id, "")} {
		if err := m.Set(key, value); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// What is refused is its peer's, is told once, and is over with an SA or in time.
func TestARefusalIsOver(t *testing.T) {
	const line = "received AUTHENTICATION_FAILED notify error"
	key, now := tunnel.PublicKey{1}, time.Unix(1000, 0)
	var r refusals
	if r.note(event(t, unnamed, line), now) || r.note(event(t, "web", line), now) || r.note(event(t, connName(key), "sending packet"), now) {
		t.Error("what is not about a peer, or not a refusal, is news")
	}
	if !r.note(event(t, connName(key), line), now) {
		t.Error("the first one is no news")
	}
	if later := now.Add(30 * time.Second); r.note(event(t, connName(key), line), later) {
		t.Error("the same is news")
	} else if r.since(key, now, later.Add(refusalLasts)) == "" {
		t.Error("it is forgotten although it was repeated")
	}
	if r.since(tunnel.PublicKey{2}, now, now) != "" {
		t.Error("another peer has it")
	}
	if got := r.since(key, now, now.Add(3*refusalLasts)); got != "" {
		t.Errorf("it is never over: %q", got)
	}
	if got := r.since(key, time.Time{}, now); got != "" {
		t.Errorf("a peer of which no SA is wanted has it: %q", got)
	}
	if got := r.since(key, now.Add(time.Minute), now.Add(time.Minute)); got != "" {
		t.Errorf("it is why there is none that was wanted after it: %q", got)
	}
	r.forget(key)
	if got := r.since(key, now, now); got != "" {
		t.Errorf("it is not forgotten: %q", got)
	}
}

// Whoever says to be a peer, and is refused, is not taken for it, and has nobody look
// again.
func TestARefusalOfOthersIsTold(t *testing.T) {
	const line = "no trusted ED25519 public key found for '0a'"
	key, now := tunnel.PublicKey{1}, time.Unix(1000, 0)
	var r refusals
	if r.note(event(t, connName(key), line, "7"), now) {
		t.Error("it is news")
	}
	if got := r.since(key, now, now); !strings.HasPrefix(got, "whoever turns to this node in its name") {
		t.Errorf("it says %q", got)
	}
	r.note(event(t, connName(key), begins+connName(key)+"[8] to 198.18.0.2", "8"), now)
	if !r.note(event(t, connName(key), line, "8"), now) {
		t.Error("what comes of the own attempt is no news")
	}
	if r.note(event(t, connName(key), line, "9"), now); !strings.HasPrefix(r.since(key, now, now), "the other end does not prove") {
		t.Errorf("the own attempt says %q", r.since(key, now, now))
	}
}

// A peer that rests is not said to be refused because somebody pretends to be it,
// nor when it is woken after that.
//
//	1, which pretends to be 2 ── 0 ── 2 rests
func TestARestingPeerIsNotRefused(t *testing.T) {
	f := newFleet(t, newHarness(t, KindUserspace, 3))
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	heard := make(chan struct{}, 100)
	watching.Go(func() { _ = f.raw(0).Watch(ctx, func() { heard <- struct{}{} }) })
	defer watching.Wait()
	defer cancel()
	<-heard // it listens
	key := f.keys[2].Public()
	f.put(t, 0, f.asleep(2))
	f.put(t, 2, f.asleep(0))
	if err := f.approach(t, rogues[1].alter); err == nil {
		t.Fatal("it got a tunnel")
	}
	refused := func() bool {
		f.raw(0).refused.mu.Lock()
		defer f.raw(0).refused.mu.Unlock()
		return f.raw(0).refused.of[key].text != ""
	}
	awaitStatus(t, f, "it is not noticed", refused)
	if st := f.peers(t, 0)[key]; st.Live || st.Refusal != "" {
		t.Errorf("a peer that rests: %+v", st)
	}
	f.put(t, 0, f.peer(2))
	if st := f.peers(t, 0)[key]; st.Refusal != "" {
		t.Errorf("a peer that is woken: %+v", st)
	}
}

// Ages that charon rounds do not make one SA look like another.
func TestTimesOfSAsAreSteady(t *testing.T) {
	key, base := tunnel.PublicKey{1}, time.Unix(1000, 0)
	a := make(ages)
	look := func(at time.Time, spi uint32) (child, ike time.Time) {
		all := map[tunnel.PublicKey][]ikeSA{key: {{id: 1, established: at, children: []childSA{{spiIn: spi, installed: at}}}}}
		a.settle(all)
		return all[key][0].children[0].installed, all[key][0].established
	}
	child, ike := look(base, 7)
	if c, i := look(base.Add(900*time.Millisecond), 7); !c.Equal(child) || !i.Equal(ike) {
		t.Errorf("the same SAs seem made at %s and %s, first at %s and %s", c, i, child, ike)
	}
	if c, i := look(base.Add(1900*time.Millisecond), 8); c.Equal(child) || !i.Equal(ike) {
		t.Errorf("a new child has the age of the old one, or the IKE SA has another: %s, %s", c, i)
	}
	if _, i := look(base.Add(time.Hour), 9); i.Equal(ike) {
		t.Error("an IKE SA of another charon has the age of the old one")
	}
	a.settle(nil)
	if len(a) != 0 {
		t.Errorf("what is gone is remembered: %v", a)
	}
}

// A node that its peer does not know is told so, in words, until it is known: one
// without any peers has no proposals for it.
func TestWhyThePeerRefusesIsShown(t *testing.T) {
	f := newFleet(t, newHarness(t, KindUserspace, 2))
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { _ = f.raw(0).Watch(ctx, func() {}) })
	defer watching.Wait()
	defer cancel()
	key := f.keys[1].Public()
	awaitStatus(t, f, "it is not said why the peer refuses", func() bool {
		f.put(t, 0, f.peer(1))
		st := f.peers(t, 0)[key]
		return !st.Live && strings.HasPrefix(st.Refusal, "the peer answers NO_PROPOSAL_CHOSEN: ")
	})
	f.raw(0).refused.mu.Lock()
	if f.raw(0).refused.begun[key] == 0 {
		t.Error("it is not known which attempts are its own")
	}
	f.raw(0).refused.mu.Unlock()
	f.put(t, 1, f.peer(0))
	st := f.await(t, 0, 1)
	if st.Refusal != "" || st.LastHandshake.Before(st.Authenticated.Add(-steady)) || time.Since(st.Authenticated).Abs() > time.Minute {
		t.Errorf("a tunnel that is up: %+v", st)
	}
}

func awaitStatus(t *testing.T, f *fleet, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(tunneltest.DeliverTimeout); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %+v", what, f.peers(t, 0))
		}
	}
}
