package mesh

import (
	"testing"
	"time"
)

// Three nodes find each other, and what one says the others know at once.
func TestThreeNodesConverge(t *testing.T) {
	hosts := newMesh(t, "centre", "edge-1", "edge-2")
	begin := time.Now()
	key := hosts[1].put("web", "v1")
	for _, h := range hosts {
		h.has(KindEndpoint, key, "v1")
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("a record took %s to be everywhere", took)
	}
	hosts[1].put("web", "v2")
	for _, h := range hosts {
		h.has(KindEndpoint, key, "v2")
	}
	if err := hosts[1].Delete(t.Context(), KindEndpoint, key); err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		h.lacks(key)
	}
	for _, h := range hosts {
		if n := h.Refusals(); len(n) != 0 {
			t.Errorf("%s refused %v", h.cfg.Name, n)
		}
	}
}
