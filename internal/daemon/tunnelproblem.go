package daemon

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/probe"
)

// The kinds of what can be wrong with a tunnel.
const (
	problemImpossible = "impossible"
	problemNoPath     = "no-path"
	problemKey        = "key"
	problemDriver     = "driver"
	problemRefused    = "refused"
	problemNoSession  = "no-session"
	problemNoAnswer   = "no-answer"
	problemNotMoved   = "not-moved"
	problemTooNarrow  = "too-narrow"
)

// tunnelProblem is something that is wrong with the tunnel to a node.
type tunnelProblem struct {
	kind, words string
	since       time.Time
}

// nodeError is what went wrong with one node in a round, by kind of problem.
type nodeError struct {
	id   mesh.NodeID
	name string
	kind string
	err  error
}

func (e nodeError) Error() string { return fmt.Sprintf("node %s: %s", e.name, e.err) }

func (e nodeError) Unwrap() error { return e.err }

// about says which node an error is about.
func about(n mesh.Node, kind string, err error) error {
	return nodeError{id: n.ID, name: n.Name, kind: kind, err: err}
}

// faultsOf finds what is about single nodes in the joined errors of a round.
func faultsOf(err error) map[mesh.NodeID][]nodeError {
	out := map[mesh.NodeID][]nodeError{}
	var visit func(error)
	visit = func(err error) {
		switch e := err.(type) { //nolint:errorlint // the whole tree is walked
		case nodeError:
			out[e.id] = append(out[e.id], e)
		case interface{ Unwrap() []error }:
			for _, one := range e.Unwrap() {
				visit(one)
			}
		case interface{ Unwrap() error }:
			visit(e.Unwrap())
		}
	}
	visit(err)
	return out
}

// problems are what is wrong, each since it was found first.
func (f facts) problems(now, keyless time.Time, before []tunnelProblem) []tunnelProblem {
	var out []tunnelProblem
	note := func(kind, words string, since time.Time) {
		if i := slices.IndexFunc(before, func(p tunnelProblem) bool { return p.kind == kind }); i >= 0 {
			since = before[i].since
		}
		if !slices.ContainsFunc(out, func(p tunnelProblem) bool { return p.kind == kind }) {
			out = append(out, tunnelProblem{kind: kind, words: words, since: since})
		}
	}
	if f.broken != nil {
		note(problemDriver, f.broken.Error(), now)
	}
	for _, e := range f.faults {
		note(e.kind, e.err.Error(), now)
	}
	if f.refused != "" {
		note(problemRefused, f.refused, now)
	}
	p := f.peer
	if p == nil {
		return out
	}
	if since := f.stats.SilentSince; !since.IsZero() {
		note(problemNoAnswer, "does not answer in the tunnel since "+clock(since), since)
	}
	if !keyless.IsZero() && now.Sub(keyless) >= keylessGrace {
		words := "has agreed on no keys since " + clock(keyless)
		if !p.LastHandshake.IsZero() {
			words = "the last keys are of " + clock(p.LastHandshake) + ", which is too long ago to use them"
		}
		note(problemNoSession, words, keyless)
	}
	if p.size.basis == probe.Narrow {
		note(problemTooNarrow, fmt.Sprintf("packets of %d bytes do not get through, though smaller ones do", p.size.mtu), now)
	}
	return out
}

// clock is a time in words that stay the same while it does.
func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// kindOf is the kind of problem that a node cannot be a peer for.
func (c choice) kindOf(err error) string {
	switch {
	case c.err != nil:
		return problemImpossible
	case errors.Is(err, tunnel.ErrNoPath):
		return problemNoPath
	}
	return problemKey
}
