package control

import (
	"context"
	"errors"
	"log/slog"

	"connectrpc.com/connect"

	"edgenet.dev/edgenet/internal/daemon"
)

// errorInterceptor gives errors their standard code, with the whole message.
type errorInterceptor struct{ log *slog.Logger }

func (i errorInterceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		res, err := next(ctx, req)
		return res, i.convert(req.Spec().Procedure, err)
	}
}

func (i errorInterceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (i errorInterceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return i.convert(conn.Spec().Procedure, next(ctx, conn))
	}
}

func (i errorInterceptor) convert(procedure string, err error) error {
	if err == nil {
		return nil
	}
	coded := withCode(err)
	if coded.Code() == connect.CodeInternal {
		i.log.Warn("call failed", "procedure", procedure, "err", err)
	}
	return coded
}

func withCode(err error) *connect.Error {
	var own *daemon.Error
	var forwarded *connect.Error
	switch {
	case errors.As(err, &own):
		return connect.NewError(own.Code, err)
	case errors.As(err, &forwarded):
		// What an authority answered is passed on as it is.
		return connect.NewError(forwarded.Code(), errors.New(forwarded.Message()))
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, err)
	case errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, err)
	}
	return connect.NewError(connect.CodeInternal, err)
}

// unreachable is true for an error that says that the other side was not
// reached or cannot serve, so that another one may be asked.
func unreachable(err error) bool {
	code := connect.CodeOf(err)
	return code == connect.CodeUnavailable || code == connect.CodeDeadlineExceeded || code == connect.CodeUnknown
}
