package health

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	api "edgenet.dev/edgenet/api/edgenet/v1"
)

// What is taken of one report at most. Whoever makes one sends no more.
const (
	MaxNodes    = 4096
	MaxTunnels  = 256
	MaxProblems = 16
	MaxRefusals = 64
	// MaxWords is how long a sentence may be, in bytes.
	MaxWords = 400
)

// longest is how long something can be so: what is more is not believed.
const longest = 10 * 365 * 24 * time.Hour

// Take makes a report of what a node has answered, that was asked at a time by the
// clock of the node that looks, and has taken so long to answer. known tells the nodes
// that there are.
func Take(answer *api.ReportHealthResponse, asked time.Time, took time.Duration, known func(id string) bool) *Report {
	out := &Report{Views: map[string]View{}, Within: took / 2}
	if c := answer.GetClock(); c.IsValid() {
		out.Ahead = c.AsTime().Sub(asked.Add(took / 2))
	}
	for _, n := range first(answer.GetNodes(), MaxNodes) {
		if s := n.GetState(); known(n.GetId()) && (s == suspect || s == dead) {
			out.Views[n.GetId()] = View{State: s, For: span(n.GetForMs())}
		}
	}
	for _, t := range first(answer.GetTunnels(), MaxTunnels) {
		if known(t.GetId()) {
			out.Tunnels = append(out.Tunnels, Tunnel{To: t.GetId(), State: Words(t.GetState()), Words: Words(t.GetMessage()), For: span(t.GetForMs())})
		}
	}
	for _, p := range first(answer.GetProblems(), MaxProblems) {
		out.Problems = append(out.Problems, Words(p))
	}
	for _, r := range first(answer.GetRefusals(), MaxRefusals) {
		if id := r.GetId(); id == "" || known(id) {
			out.Refusals = append(out.Refusals, Refusal{Of: id, Reason: Words(r.GetReason()), Count: r.GetCount(), Ago: span(r.GetLastMs())})
		}
	}
	return out
}

// first is the first part of a list.
func first[T any](list []T, most int) []T { return list[:min(len(list), most)] }

func span(ms uint64) time.Duration {
	return time.Duration(min(ms, uint64(longest.Milliseconds()))) * time.Millisecond
}

// Words is a text of another node's, or for another node, as it may be shown: one line
// of bounded length.
func Words(s string) string {
	if len(s) > MaxWords {
		s = s[:MaxWords]
		for len(s) > 0 && !utf8.ValidString(s[max(0, len(s)-utf8.UTFMax):]) {
			s = s[:len(s)-1]
		}
		s += "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
