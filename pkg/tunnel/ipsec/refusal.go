package ipsec

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/strongswan/govici/vici"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// refusalLasts is how long a refusal counts that is not repeated: an attempt that
// nobody answers is given up after 32 s, and the next one follows within seconds.
const refusalLasts = time.Minute

// refusals remember why SAs were refused, by either end. They come from the events
// of charon's log, in another goroutine than the driver's.
type refusals struct {
	mu sync.Mutex
	of map[tunnel.PublicKey]refusal
	// begun are the numbers of the IKE SAs that this end began last.
	begun map[tunnel.PublicKey]uint64
}

type refusal struct {
	at   time.Time
	text string
	// theirs: this end did not begin that SA. Whoever did need not be the peer.
	theirs bool
}

// begins is how charon logs that this end begins an IKE SA (ike_init.c).
const begins = "initiating IKE_SA "

// note takes one event of charon's log. It tells whether it says something new of
// a peer. Of what others begin it does not: they would have a round for each try.
func (r *refusals) note(m *vici.Message, now time.Time) (news bool) {
	key, ok := parseConnName(text(m, "ikesa-name"))
	if !ok {
		return false
	}
	line, id := text(m, "msg"), number(m, "ikesa-uniqueid")
	words, own := refusalIn(line)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of, r.begun = make(map[tunnel.PublicKey]refusal), make(map[tunnel.PublicKey]uint64)
	}
	if strings.HasPrefix(line, begins) {
		r.begun[key] = id
	}
	if words == "" {
		return false
	}
	before := r.of[key]
	next := refusal{at: now, text: words, theirs: !own && r.begun[key] != id}
	if next.theirs {
		if !before.theirs && now.Sub(before.at) <= refusalLasts {
			return false // that of the own attempt says more
		}
		next.text = "whoever turns to this node in its name is refused: " + words
	}
	r.of[key] = next
	return before.text != next.text && !next.theirs
}

// since is why a peer has no SA although one is wanted since some time, if that is
// known and still true. What was refused before that, or to others while none was
// wanted, is not why.
func (r *refusals) since(key tunnel.PublicKey, wanted, now time.Time) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.of[key]
	if wanted.IsZero() || last.at.Before(wanted) || now.Sub(last.at) > refusalLasts {
		return ""
	}
	return last.text
}

// forget is for a peer that has SAs, or is no peer any more.
func (r *refusals) forget(key tunnel.PublicKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.of, key)
	delete(r.begun, key)
}

// received is how charon logs that the other end refuses (ike_auth.c, ike_init.c and
// child_create.c of its sources).
var received = regexp.MustCompile(`^received ([A-Z0-9_]+) notify(?: error|, no CHILD_SA built)$`)

// notifies are error types of RFC 7296, section 3.10.1, in words. The peer says them.
var notifies = map[string]string{
	"AUTHENTICATION_FAILED": "it does not take this node for a peer of its own",
	"NO_PROPOSAL_CHOSEN":    "it has no cipher in common with this node, or no peers at all",
	"TS_UNACCEPTABLE":       "it has other prefixes for the two nodes",
	"INVALID_SYNTAX":        "it does not understand what this node says",
	"INVALID_MAJOR_VERSION": "it does not speak IKEv2",
}

// passing are those that are no refusal, but are to be tried again, or about an SA
// that was ended meanwhile.
var passing = map[string]bool{
	"TEMPORARY_FAILURE": true, "CHILD_SA_NOT_FOUND": true, "INVALID_KE_PAYLOAD": true, "INVALID_IKE_SPI": true,
	"INVALID_MESSAGE_ID": true, "NO_ADDITIONAL_SAS": true,
}

// ours is how charon logs that this end refuses.
var ours = []struct{ begins, words string }{
	{"no trusted ", "the other end does not prove that it has this node's key"},
	{"signature validation failed", "the other end does not prove that it has this node's key"},
	{"constraint checking failed", "the other end proves who it is by other means than its key"},
	{"no matching peer config found", "the other end says it is somebody else"},
	{"no acceptable proposal found", "the other end has no cipher that may be used"},
	{"received proposals unacceptable", "the other end has no cipher that may be used"},
	{"no acceptable traffic selectors found", "the other end wants other prefixes than those of the two nodes"},
	{"traffic selectors ", "the other end wants other prefixes than those of the two nodes"},
	{"no private key found", "charon has not been given this node's key"},
	{"unable to install ", "this host does not take the SAs"},
}

// refusalIn is what a line of charon's log says of why there is no SA; empty if it
// is about something else. own tells that it is about what this end has asked for.
func refusalIn(line string) (words string, own bool) {
	if m := received.FindStringSubmatch(line); m != nil {
		if passing[m[1]] {
			return "", false
		}
		if words, known := notifies[m[1]]; known {
			return fmt.Sprintf("the peer answers %s: %s", m[1], words), true
		}
		return "the peer answers " + m[1], true
	}
	for _, o := range ours {
		if strings.HasPrefix(line, o.begins) {
			return fmt.Sprintf("%s (charon: %s)", o.words, line), false
		}
	}
	return "", false
}
