package isolation

import (
	"context"
	"errors"
	"testing"
)

// A kernel on which the other tests run takes the programs, and has tcx or not as
// they find it.
func TestProbesSayWhatTheKernelTakes(t *testing.T) {
	needRoot(t)
	if err := ProbePrograms(t.Context()); err != nil {
		t.Errorf("the programs are refused: %v", err)
	}
	if err := ProbeTCX(); (err == nil) != hasTCX() || err != nil && !errors.Is(err, ErrUnsupported) {
		t.Errorf("tcx is there: %v, and the probe says %v", hasTCX(), err)
	}
	if err := ProbeChecksums(); err != nil {
		t.Errorf("the programs may not look where checksums are written: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ProbePrograms(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("a probe that is ended says %v", err)
	}
}
