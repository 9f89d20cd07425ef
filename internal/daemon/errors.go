package daemon

import (
	"fmt"

	"connectrpc.com/connect"
)

// Error is an error that a caller of the API caused or can do something about.
type Error struct {
	// Code is one of the standard codes of gRPC.
	Code connect.Code
	err  error
}

func (e *Error) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.err }

func invalid(format string, args ...any) error {
	return &Error{Code: connect.CodeInvalidArgument, err: fmt.Errorf(format, args...)}
}

func notFound(format string, args ...any) error {
	return &Error{Code: connect.CodeNotFound, err: fmt.Errorf(format, args...)}
}

func exists(format string, args ...any) error {
	return &Error{Code: connect.CodeAlreadyExists, err: fmt.Errorf(format, args...)}
}

func precondition(format string, args ...any) error {
	return &Error{Code: connect.CodeFailedPrecondition, err: fmt.Errorf(format, args...)}
}

func unavailable(format string, args ...any) error {
	return &Error{Code: connect.CodeUnavailable, err: fmt.Errorf(format, args...)}
}

func denied(format string, args ...any) error {
	return &Error{Code: connect.CodePermissionDenied, err: fmt.Errorf(format, args...)}
}

func outOfRange(format string, args ...any) error {
	return &Error{Code: connect.CodeOutOfRange, err: fmt.Errorf(format, args...)}
}
