package events

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	api "edgenet.dev/edgenet/api/edgenet/v1"
)

// The words of the API that events depend on.
const (
	stateAlive   = "alive"
	stateSuspect = "suspect"
	stateDead    = "dead"

	tunnelUp      = "up"
	tunnelDown    = "down"
	tunnelKeyless = "connecting"

	endpointReady      = "ready"
	endpointFailed     = "failed"
	endpointSuperseded = "superseded"
)

// nodeChange is what has happened to a node, its tunnel aside.
func nodeChange(was, is *api.Node) (event, message string) {
	switch state := is.GetState(); {
	case state == was.GetState():
		return NodeChanged, ""
	case state == stateAlive:
		return NodeBack, "was " + was.GetState()
	default:
		return "node-" + state, "was " + was.GetState()
	}
}

// tunnelChange is what has happened to a tunnel.
func tunnelChange(was, is *api.Tunnel) (event, message string) {
	message = "was " + orNothing(was.GetState())
	switch from, to := was.GetState(), is.GetState(); {
	case from == to:
		return TunnelChanged, tunnelDifference(was, is)
	case to == tunnelUp:
		return TunnelUp, message
	case from == tunnelUp && (to == tunnelDown || to == tunnelKeyless):
		if why := problems(is); why != "" {
			message = why
		}
		return TunnelDown, message
	default:
		return TunnelChanged, fmt.Sprintf("%s, %s", orNothing(to), message)
	}
}

func orNothing(word string) string {
	if word == "" {
		return "not there"
	}
	return word
}

// tunnelDifference says what is otherwise of a tunnel that is in the same state.
func tunnelDifference(was, is *api.Tunnel) string {
	var parts []string
	for _, part := range []struct{ name, was, is string }{
		{"driver", was.GetDriver(), is.GetDriver()},
		{"endpoint", was.GetEndpoint(), is.GetEndpoint()},
		{"path MTU", fmt.Sprintf("%d (%s)", was.GetPathMtu(), was.GetPathMtuBasis()), fmt.Sprintf("%d (%s)", is.GetPathMtu(), is.GetPathMtuBasis())},
		{"problems", problems(was), problems(is)},
	} {
		switch {
		case part.was == part.is:
		case part.is == "":
			parts = append(parts, fmt.Sprintf("no %s any more", part.name))
		default:
			parts = append(parts, fmt.Sprintf("%s: %s", part.name, part.is))
		}
	}
	return strings.Join(parts, "; ")
}

// problems are what is wrong with a tunnel, in words.
func problems(t *api.Tunnel) string {
	var words []string
	for _, p := range t.GetProblems() {
		words = append(words, p.GetMessage())
	}
	return strings.Join(words, "; ")
}

func endpointAdded(e *api.Endpoint) (event, message string) {
	switch e.GetState() {
	case endpointSuperseded:
		return EndpointSuperseded, e.GetMessage()
	case endpointFailed:
		return EndpointFailed, e.GetMessage()
	default:
		return EndpointAttached, where(e)
	}
}

func endpointChange(was, is *api.Endpoint) (event, message string) {
	switch from, to := was.GetState(), is.GetState(); {
	case from != to && to != endpointReady:
		return endpointAdded(is)
	case to == endpointReady && !proto.Equal(was.GetAttached(), is.GetAttached()):
		return EndpointAttached, where(is) + ", anew"
	case from != to:
		return EndpointReady, "was " + from
	default:
		return EndpointChanged, is.GetMessage()
	}
}

// where says which address an endpoint has, and where.
func where(e *api.Endpoint) string { return fmt.Sprintf("%s on %s", e.GetIp(), e.GetNode()) }
