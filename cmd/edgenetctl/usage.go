package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// usageError is a command line that cannot be right, whatever edgenetd says.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error {
	return &usageError{text: fmt.Sprintf(format, args...)}
}

// asUsage makes an error that is the command line's fault one of usage.
func asUsage(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{text: err.Error()}
}

func isUsage(err error) bool {
	var usage *usageError
	return errors.As(err, &usage)
}

// onUsageError takes what urfave/cli says of a flag's value.
func onUsageError(_ *cli.Context, err error, _ bool) error {
	text := strings.Replace(err.Error(), "for flag -", "for flag --", 1)
	return usagef("%s", strings.Replace(text, " for -", " for flag --", 1)) // of a switch
}

// failed says what could not be done. edgenetd often says it too; then once is
// enough.
func failed(what string, err error) error {
	if said := err.Error(); len(said) > len(what) && strings.EqualFold(said[:len(what)], what) {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}
