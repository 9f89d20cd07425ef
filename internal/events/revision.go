package events

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Revision is a place in a log of events: behind the event of that number.
type Revision struct {
	// Log tells one log from another, for instance one that was begun anew: eight
	// random bytes in hexadecimal.
	Log string
	// Number counts the events of the log, from 1. 0 is before the first.
	Number uint64
}

// logLength is the length of Revision.Log.
const logLength = 16

var errRevision = errors.New("want what edgenetd gave as a revision, as 0f1e2d3c4b5a6978-42")

// String is the one form that ParseRevision takes.
func (r Revision) String() string { return r.Log + "-" + strconv.FormatUint(r.Number, 10) }

// ParseRevision reads what String wrote.
func ParseRevision(text string) (Revision, error) {
	log, number, _ := strings.Cut(text, "-")
	if raw, err := hex.DecodeString(log); err != nil || len(log) != logLength || hex.EncodeToString(raw) != log {
		return Revision{}, fmt.Errorf("revision %.64q: %w", text, errRevision)
	}
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != number {
		return Revision{}, fmt.Errorf("revision %.64q: %w", text, errRevision)
	}
	return Revision{Log: log, Number: n}, nil
}
