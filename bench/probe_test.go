package main

import (
	"os"
	"testing"
)

// What is measured of a packet is a packet that the datapath lets through: of every
// kind, out of the container and in from the tunnel.
func TestEveryKindOfPacketPasses(t *testing.T) {
	if os.Geteuid() != 0 && os.Getenv("EDGENET_E2E") != "must" {
		t.Skip("not root")
	}
	p, err := newProbe(t.Context(), newWorkload(10, 10), 4)
	if err != nil {
		t.Fatal(err)
	}
	var took times
	for kind := range kindsOfPacket {
		if err := p.block(kind, &took); err != nil {
			t.Errorf("kind %d: %v", kind, err)
		}
	}
	if cost := took.cost(); cost <= 0 {
		t.Errorf("a packet costs %v ns", cost)
	}
	if err := p.close(t.Context()); err != nil {
		t.Error(err)
	}
}
