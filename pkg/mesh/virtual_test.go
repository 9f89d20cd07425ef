package mesh

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"edgenet.dev/edgenet/test/sim/wan"
)

// virtualMesh makes a mesh in virtual time, over a network in memory, and does
// something with it. The first node is its authority; the others have the roles of
// their token.
func virtualMesh(t *testing.T, names []string, q TokenRequest, change func(*Config), do func(t *testing.T, hosts []*host)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := wan.New(wan.Config{Latency: 5 * time.Millisecond, Tick: time.Millisecond})
		var hosts []*host
		defer func() { // Idle connections end by their own time-outs, which the bubble waits for.
			for _, h := range hosts {
				h.stop()
			}
			time.Sleep(5 * time.Minute)
		}()
		for i, name := range names {
			h := virtualHost(t, network, i, name, change)
			hosts = append(hosts, h)
			var err error
			if i == 0 {
				err = h.Init(t.Context())
			} else {
				err = h.Join(t.Context(), hosts[0].token(q))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, h := range hosts {
			h.sees(names...)
		}
		do(t, hosts)
	})
}

// virtualHost is newHost on a network in memory.
func virtualHost(t *testing.T, network *wan.Network, i int, name string, change ...func(*Config)) *host {
	t.Helper()
	return newHost(t, name, append(change, func(c *Config) {
		at := network.Host(netip.AddrFrom4([4]byte{10, 1, 0, byte(1 + i)}))
		c.Network, c.Links = at, []Link{{Addr: at.Addr(), Carrier: "lo"}}
	})...)
}
