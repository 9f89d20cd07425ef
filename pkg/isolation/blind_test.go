package isolation

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// A kernel that does not let programs see where checksums are yet to be written
// gets a datapath all the same, and the log says what that means.
func TestAKernelThatShowsNothingGetsADatapath(t *testing.T) {
	var log bytes.Buffer
	w := newGuestWire(t, Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), kernelTypes: typesWithout(t)})
	if !strings.Contains(log.String(), "does not check where senders have their checksums written") || !strings.Contains(log.String(), "why=") {
		t.Errorf("log says: %s", log.String())
	}
	w.has(t, wellPlaced["TCP"], arrives)
	w.has(t, wellPlaced["TCP in VXLAN"], arrives)
	// This is what it means.
	w.has(t, badlyPlaced["UDP's destination port"], arrives)
}

// typesWithout are types of a kernel that has no packets.
func typesWithout(t *testing.T) *btf.Spec {
	t.Helper()
	builder, err := btf.NewBuilder([]btf.Type{&btf.Int{Name: "int", Size: 4}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := builder.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	types, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return types
}
