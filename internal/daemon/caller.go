package daemon

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/mesh"
)

type callerKey struct{}

// WithCaller notes which process of this host makes the calls of a connection.
func WithCaller(ctx context.Context, who unix.Ucred) context.Context {
	return context.WithValue(ctx, callerKey{}, who)
}

// Caller says in words who makes a call.
func Caller(ctx context.Context) string {
	if n, ok := mesh.PeerFromContext(ctx); ok {
		return fmt.Sprintf("node %s (%s)", n.Name, n.ID)
	}
	if who, ok := ctx.Value(callerKey{}).(unix.Ucred); ok {
		return fmt.Sprintf("uid %d, pid %d on this host", who.Uid, who.Pid)
	}
	return "unknown"
}
