package events

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	api "edgenet.dev/edgenet/api/edgenet/v1"
)

// The types of a watch's messages.
const (
	Added    = "added"
	Modified = "modified"
	Deleted  = "deleted"
	Synced   = "synced"
	Progress = "progress"
)

// ObjectOf is the kind of a message's object; empty if it has none.
func ObjectOf(m *api.WatchResponse) string {
	switch m.GetObject().(type) {
	case *api.WatchResponse_Node:
		return ObjectNode
	case *api.WatchResponse_Vpc:
		return ObjectVPC
	case *api.WatchResponse_Group:
		return ObjectGroup
	case *api.WatchResponse_Endpoint:
		return ObjectEndpoint
	default:
		return ""
	}
}

// Between are the events that make an object what it is: none if it was the same,
// two if a node and its tunnel have changed. before and after are messages of which
// only the objects count, of the same kind; nil is none.
func Between(at time.Time, before, after *api.WatchResponse) []*api.WatchResponse {
	var out []*api.WatchResponse
	note := func(kind string, object *api.WatchResponse, event, message string) {
		out = append(out, &api.WatchResponse{Type: kind, Object: object.GetObject(), Time: timestamppb.New(at), Event: event, Message: message})
	}
	switch {
	case ObjectOf(before) == "" && ObjectOf(after) == "":
	case ObjectOf(before) == "":
		event, message := added(after)
		note(Added, after, event, message)
	case ObjectOf(after) == "":
		event, message := deleted(before)
		note(Deleted, before, event, message)
	case after.GetNode() != nil:
		after = keepSince(before.GetNode().GetTunnel(), after)
		between := nodeOnly(before.GetNode(), after.GetNode())
		if was, is := before.GetNode(), between.GetNode(); !proto.Equal(was, is) {
			event, message := nodeChange(was, is)
			note(Modified, between, event, message)
		}
		if was, is := before.GetNode().GetTunnel(), after.GetNode().GetTunnel(); !proto.Equal(was, is) {
			event, message := tunnelChange(was, is)
			note(Modified, after, event, message)
		}
	case !proto.Equal(&api.WatchResponse{Object: before.GetObject()}, &api.WatchResponse{Object: after.GetObject()}):
		event, message := changed(before, after)
		note(Modified, after, event, message)
	}
	return out
}

// keepSince has a tunnel that is in the same state be so since it was, and what is
// wrong with it too: a daemon that starts knows only since when it has looked.
func keepSince(was *api.Tunnel, m *api.WatchResponse) *api.WatchResponse {
	is := m.GetNode().GetTunnel()
	if was == nil || is == nil || proto.Equal(was, is) {
		return m
	}
	node := proto.CloneOf(m.GetNode())
	is = node.GetTunnel()
	if is.GetState() == was.GetState() && was.GetSince() != nil {
		is.Since = was.GetSince()
	}
	for _, p := range is.GetProblems() {
		same := slices.IndexFunc(was.GetProblems(), func(o *api.TunnelProblem) bool {
			return o.GetKind() == p.GetKind() && o.GetMessage() == p.GetMessage()
		})
		if same >= 0 {
			p.Since = was.GetProblems()[same].GetSince()
		}
	}
	return &api.WatchResponse{Object: &api.WatchResponse_Node{Node: node}}
}

// nodeOnly is a node as it is, with the tunnel as it was.
func nodeOnly(was, is *api.Node) *api.WatchResponse {
	if proto.Equal(was.GetTunnel(), is.GetTunnel()) {
		return &api.WatchResponse{Object: &api.WatchResponse_Node{Node: is}}
	}
	between := proto.CloneOf(is)
	between.Tunnel = was.GetTunnel()
	return &api.WatchResponse{Object: &api.WatchResponse_Node{Node: between}}
}

func added(m *api.WatchResponse) (event, message string) {
	switch o := m.GetObject().(type) {
	case *api.WatchResponse_Node:
		switch state := o.Node.GetState(); state {
		case stateAlive, stateSuspect, stateDead:
			return NodeJoined, state
		default:
			return "node-" + state, ""
		}
	case *api.WatchResponse_Vpc:
		return VPCCreated, strings.Join(o.Vpc.GetCidrs(), ", ")
	case *api.WatchResponse_Group:
		return GroupCreated, "of vpc " + o.Group.GetVpc()
	case *api.WatchResponse_Endpoint:
		return endpointAdded(o.Endpoint)
	}
	return "", ""
}

func deleted(m *api.WatchResponse) (event, message string) {
	switch o := m.GetObject().(type) {
	case *api.WatchResponse_Node:
		return NodeForgotten, "was " + o.Node.GetState()
	case *api.WatchResponse_Vpc:
		return VPCDeleted, ""
	case *api.WatchResponse_Group:
		return GroupDeleted, ""
	case *api.WatchResponse_Endpoint:
		return EndpointDetached, "was " + where(o.Endpoint)
	}
	return "", ""
}

// changed is what has happened to what is no node.
func changed(before, after *api.WatchResponse) (event, message string) {
	switch o := after.GetObject().(type) {
	case *api.WatchResponse_Vpc:
		return VPCChanged, ""
	case *api.WatchResponse_Group:
		return GroupChanged, ""
	case *api.WatchResponse_Endpoint:
		return endpointChange(before.GetEndpoint(), o.Endpoint)
	}
	return "", ""
}
