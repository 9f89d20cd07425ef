package events

import (
	"slices"
	"strings"
)

// The kinds of objects that events are about.
const (
	ObjectNode     = "node"
	ObjectVPC      = "vpc"
	ObjectGroup    = "group"
	ObjectEndpoint = "endpoint"
)

// OfTunnel begins the names of what happens to the tunnel in a node.
const OfTunnel = "tunnel"

// The names of events. Those of a node's states that are not here are made like
// them.
const (
	NodeJoined    = "node-joined"
	NodeSuspect   = "node-suspect"
	NodeDead      = "node-dead"
	NodeBack      = "node-back"
	NodeLeft      = "node-left"
	NodeEvicted   = "node-evicted"
	NodeExpired   = "node-expired"
	NodeChanged   = "node-changed"
	NodeForgotten = "node-forgotten"

	TunnelUp      = "tunnel-up"
	TunnelDown    = "tunnel-down"
	TunnelChanged = "tunnel-changed"

	VPCCreated = "vpc-created"
	VPCChanged = "vpc-changed"
	VPCDeleted = "vpc-deleted"

	GroupCreated = "group-created"
	GroupChanged = "group-changed"
	GroupDeleted = "group-deleted"

	EndpointAttached   = "endpoint-attached"
	EndpointReady      = "endpoint-ready"
	EndpointFailed     = "endpoint-failed"
	EndpointSuperseded = "endpoint-superseded"
	EndpointChanged    = "endpoint-changed"
	EndpointDetached   = "endpoint-detached"
)

// names are those of all events.
var names = []string{
	NodeJoined, NodeSuspect, NodeDead, NodeBack, NodeLeft, NodeEvicted, NodeExpired, NodeChanged, NodeForgotten,
	TunnelUp, TunnelDown, TunnelChanged,
	VPCCreated, VPCChanged, VPCDeleted,
	GroupCreated, GroupChanged, GroupDeleted,
	EndpointAttached, EndpointReady, EndpointFailed, EndpointSuperseded, EndpointChanged, EndpointDetached,
}

// Kinds are what can be asked for: kinds of objects, tunnel, and names of events.
func Kinds() []string {
	return append([]string{ObjectNode, ObjectVPC, ObjectGroup, ObjectEndpoint, OfTunnel}, names...)
}

// Filter is what somebody has asked for.
type Filter struct{ kinds []string }

// NewFilter makes one of kinds; none is all. It returns the first that is none of
// Kinds, if there is one.
func NewFilter(kinds []string) (f Filter, unknown string) {
	known := Kinds()
	for _, k := range kinds {
		if !slices.Contains(known, k) {
			return Filter{}, k
		}
	}
	return Filter{kinds: kinds}, ""
}

// Takes tells whether an event, by its name and its object's kind, was asked for. An
// object that is there already has no name of an event.
func (f Filter) Takes(object, event string) bool {
	if len(f.kinds) == 0 || slices.Contains(f.kinds, object) {
		return true
	}
	of, _, _ := strings.Cut(event, "-")
	return event != "" && (slices.Contains(f.kinds, event) || of == OfTunnel && slices.Contains(f.kinds, OfTunnel))
}
