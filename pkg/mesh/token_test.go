package mesh

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// movedClock is a wall clock that a test moves.
type movedClock struct{ ahead atomic.Int64 }

func (c *movedClock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// newAuthorityHost makes a mesh and returns its authority.
func newAuthorityHost(t *testing.T, change ...func(*Config)) *host {
	t.Helper()
	h := newHost(t, "centre", change...)
	if err := h.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestTokensThatAreRefused(t *testing.T) {
	var clock movedClock
	centre := newAuthorityHost(t, func(c *Config) { c.Now = clock.now })
	good := centre.token(TokenRequest{TTL: time.Minute})
	edge := newHost(t, "edge")

	wantError(t, edge.Join(t.Context(), "edgenet1.xyz"), ErrTokenMalformed)
	wantError(t, edge.Join(t.Context(), ""), ErrTokenMalformed)
	wantError(t, edge.Join(t.Context(), good[:len(good)-2]), ErrTokenMalformed)

	tok, err := parseToken(good)
	if err != nil {
		t.Fatal(err)
	}
	change := func(f func(*token)) string {
		x := *tok
		x.secret.bytes = append([]byte(nil), tok.secret.bytes...)
		f(&x)
		text, err := x.format()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	wantError(t, edge.Join(t.Context(), change(func(x *token) { x.secret.bytes[0] ^= 1 })), ErrTokenUnknown)
	wantError(t, edge.Join(t.Context(), change(func(x *token) { x.id[0] ^= 1 })), ErrTokenUnknown)
	// A token for another authority must not make the node talk to this one.
	wantError(t, edge.Join(t.Context(), change(func(x *token) { x.fingerprint[0] ^= 1 })), errCertificate)

	clock.ahead.Store(int64(2 * time.Minute))
	wantError(t, edge.Join(t.Context(), good), ErrTokenExpired)
	clock.ahead.Store(0)

	if err := edge.Join(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	wantError(t, newHost(t, "late").Join(t.Context(), good), ErrTokenUsedUp)
	if strings.Contains(fmt.Sprintf("%v %+v %#v %d %x", tok, *tok, tok, tok.secret, tok.secret), fmt.Sprintf("%x", tok.secret.bytes[:4])) {
		t.Error("the secret prints")
	}
}

// A node that has lost the answer asks again: that spends nothing.
func TestJoiningAgainSpendsNothing(t *testing.T) {
	centre := newAuthorityHost(t)
	tok := centre.token(TokenRequest{Uses: 2})
	edge := newHost(t, "edge")
	for range 3 {
		if err := edge.Join(t.Context(), tok); err != nil {
			t.Fatal(err)
		}
		if err := edge.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := newHost(t, "second").Join(t.Context(), tok); err != nil {
		t.Fatal(err)
	}
	wantError(t, newHost(t, "third").Join(t.Context(), tok), ErrTokenUsedUp)
}

// However many come at once, no more get in than may.
func TestConcurrentJoinsNeverExceedTheUses(t *testing.T) {
	centre := newAuthorityHost(t)
	tok := centre.token(TokenRequest{Uses: 3})
	var joined, refused atomic.Int32
	var all sync.WaitGroup
	for i := range 8 {
		h := newHost(t, fmt.Sprintf("edge-%d", i))
		all.Go(func() {
			switch err := h.Join(t.Context(), tok); {
			case err == nil:
				joined.Add(1)
			case errors.Is(err, ErrTokenUsedUp):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if joined.Load() != 3 || refused.Load() != 5 {
		t.Errorf("%d joined and %d were refused, want 3 and 5", joined.Load(), refused.Load())
	}
}

func TestNamesAreUniqueAmongThoseWhoHaveNotLeft(t *testing.T) {
	centre := newAuthorityHost(t)
	tok := centre.token(TokenRequest{Uses: 9})
	first, second := newHost(t, "edge"), newHost(t, "edge")
	wantError(t, newHost(t, "centre").Join(t.Context(), tok), ErrNameTaken)
	if err := first.Join(t.Context(), tok); err != nil {
		t.Fatal(err)
	}
	centre.sees("centre", "edge")
	wantError(t, second.Join(t.Context(), tok), ErrNameTaken)
	if err := first.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := second.Join(t.Context(), tok); err != nil {
		t.Fatal(err)
	}
	centre.sees("centre", "edge")
	if n, _ := centre.Node("edge"); n.ID != second.Self().ID {
		t.Errorf("edge is %s, want the one that is there, %s", n.ID, second.Self().ID)
	}
}

// Two keys whose ids begin alike would share a /64.
func TestPrefixesAreUnique(t *testing.T) {
	w := newWorld(t)
	edge := w.admit(w.ca, "edge", RoleEdge)
	w.told(w.signed(edge, w.record(edge)))
	id := edge.cred.id[:10] + "ffffffffffffffffffffffffffffff"
	tx, err := w.m.replica.db.Begin(false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	wantError(t, w.m.checkCollisions(tx, w.ca.trustAnchor, &admission{id: id, name: "x"}), ErrPrefixTaken)
}

func TestTokenRequestsAreChecked(t *testing.T) {
	centre := newAuthorityHost(t)
	for _, q := range []TokenRequest{
		{TTL: time.Millisecond},
		{TTL: -1},
		{TTL: MaxTokenTTL + 1},
		{Uses: -1},
		{Uses: MaxTokenUses + 1},
		{Roles: []Role{"king"}},
		{Roles: []Role{RoleEdge, RoleEdge}},
	} {
		_, _, err := centre.CreateToken(q)
		wantText(t, err, "create token: check")
	}
	edge := newHost(t, "edge")
	_, _, err := edge.CreateToken(TokenRequest{})
	wantError(t, err, ErrNotInMesh)
	if err := edge.Join(t.Context(), centre.token(TokenRequest{Roles: []Role{RoleAuthority}})); err != nil {
		t.Fatal(err)
	}
	if _, err := edge.Put(t.Context(), KindVPC, "v", nil); err != nil {
		t.Error(err)
	}
	centre.has(KindVPC, "v", "")
}
