package control

import (
	"context"
	"net"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/internal/daemon"
)

// withCaller notes which process is at the other end of the control socket. One
// that the kernel does not tell of stays unknown.
func withCaller(ctx context.Context, conn net.Conn) context.Context {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return ctx
	}
	var who *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		who, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil || failed != nil {
		return ctx
	}
	return daemon.WithCaller(ctx, *who)
}
