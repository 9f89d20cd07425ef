package ipsec

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// rogue is the configuration with which a hostile node 1 turns to node 0.
type rogue struct {
	name  string
	alter func(t *testing.T, f *fleet, c *ikeConfig, child *childConfig)
	// admitted: node 0 knows node 1.
	admitted bool
	// answer is what node 0 says, as node 1's charon logs it.
	answer string
}

var rogues = []rogue{
	{
		name:   "a stranger with a key of its own",
		answer: "received AUTHENTICATION_FAILED",
		alter:  func(*testing.T, *fleet, *ikeConfig, *childConfig) {},
	},
	{
		name:   "another node's identity with a key of its own",
		answer: "received AUTHENTICATION_FAILED",
		alter: func(t *testing.T, f *fleet, c *ikeConfig, _ *childConfig) {
			c.Local.ID = identity(t, f.keys[2].Public())
		},
	},
	{
		name:     "an admitted node that claims to be another",
		answer:   "received AUTHENTICATION_FAILED",
		admitted: true,
		alter: func(t *testing.T, f *fleet, c *ikeConfig, child *childConfig) {
			c.Local.ID = identity(t, f.keys[2].Public())
			child.LocalTS = []string{f.peer(2).Prefix.String()}
		},
	},
	{
		name:     "an admitted node that wants another's prefix",
		answer:   "received TS_UNACCEPTABLE",
		admitted: true,
		alter: func(_ *testing.T, f *fleet, _ *ikeConfig, child *childConfig) {
			child.LocalTS = []string{f.peer(2).Prefix.String()}
		},
	},
	{
		name:     "an admitted node that wants to reach another's prefix",
		answer:   "received TS_UNACCEPTABLE",
		admitted: true,
		alter: func(_ *testing.T, f *fleet, _ *ikeConfig, child *childConfig) {
			child.RemoteTS = []string{f.peer(2).Prefix.String()}
		},
	},
	{
		name:     "an admitted node that wants IPv4",
		answer:   "received TS_UNACCEPTABLE",
		admitted: true,
		alter: func(_ *testing.T, _ *fleet, _ *ikeConfig, child *childConfig) {
			child.LocalTS, child.RemoteTS = []string{"0.0.0.0/0"}, []string{"0.0.0.0/0"}
		},
	},
	{
		name:     "an admitted node that wants no encryption",
		answer:   "received NO_PROPOSAL_CHOSEN",
		admitted: true,
		alter: func(_ *testing.T, _ *fleet, _ *ikeConfig, child *childConfig) {
			child.Proposals = []string{"null-sha256"}
		},
	},
	{
		name:     "an admitted node that wants weaker ESP",
		answer:   "received NO_PROPOSAL_CHOSEN",
		admitted: true,
		alter: func(_ *testing.T, _ *fleet, _ *ikeConfig, child *childConfig) {
			child.Proposals = []string{"aes128gcm16", "aes256-sha256"}
		},
	},
	{
		name:     "an admitted node that wants weaker IKE",
		answer:   "received NO_PROPOSAL_CHOSEN",
		admitted: true,
		alter: func(_ *testing.T, _ *fleet, c *ikeConfig, _ *childConfig) {
			c.Proposals = []string{"aes128-sha256-x25519", "aes256gcm16-prfsha256-modp2048"}
		},
	},
	{
		name:     "an admitted node that proves itself by a shared secret",
		answer:   "received AUTHENTICATION_FAILED",
		admitted: true,
		alter: func(_ *testing.T, _ *fleet, c *ikeConfig, _ *childConfig) {
			c.Local.Auth, c.Local.PubKeys = "psk", nil
		},
	},
	{
		name:     "an admitted node that speaks IKEv1",
		answer:   "received NO_PROPOSAL_CHOSEN",
		admitted: true,
		alter: func(_ *testing.T, _ *fleet, c *ikeConfig, _ *childConfig) {
			c.Version = 1 // which knows no Ed25519
			c.Local.Auth, c.Local.PubKeys = "psk", nil
			c.Remote.Auth, c.Remote.PubKeys = "psk", nil
		},
	},
}

func identity(t *testing.T, key tunnel.PublicKey) string {
	t.Helper()
	id, err := Identity(key)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Node 1 is hostile; node 0 has node 2 as a peer.
//
//	0 ── 2
//	│
//	1: none of what it asks for is given
func TestWhatIsNotWantedIsRefused(t *testing.T) {
	f := newFleet(t, newHarness(t, KindUserspace, 3))
	f.put(t, 0, f.peer(2))
	f.put(t, 2, f.peer(0))
	f.await(t, 0, 2)
	for _, r := range rogues {
		t.Run(r.name, func(t *testing.T) {
			if r.admitted {
				f.put(t, 0, endpointless(f.peer(1)))
			}
			before := len(f.log(t, 1))
			if err := f.approach(t, r.alter); err == nil {
				t.Error("it got a tunnel")
			}
			if said := f.log(t, 1)[before:]; !strings.Contains(said, r.answer) {
				t.Errorf("the answer is not %q; the log is:\n%s", r.answer, said)
			}
			if st := f.peers(t, 0)[f.keys[1].Public()]; st.Live {
				t.Errorf("node 0 has a tunnel to it: %+v", st)
			}
			if st := f.peers(t, 0)[f.keys[2].Public()]; !st.Live {
				t.Error("node 0 has lost its tunnel to node 2")
			}
			if err := f.drivers[0].Delete(t.Context(), f.keys[1].Public()); err != nil {
				t.Fatal(err)
			}
		})
	}
	// All else being right, it would have got one: the refusals had their reasons.
	f.put(t, 0, endpointless(f.peer(1)))
	if err := f.approach(t, rogues[0].alter); err != nil {
		t.Errorf("an admitted node that asks for what it may have: %v", err)
	}
	if st := f.await(t, 0, 1); st.Cipher != "aes_gcm_16-256" {
		t.Errorf("its cipher is %q, want aes_gcm_16-256", st.Cipher)
	}
}

// An admitted node that asks for more than its prefix gets its prefix alone.
func TestWiderSelectorsAreNarrowed(t *testing.T) {
	f := newFleet(t, newHarness(t, KindUserspace, 2))
	f.put(t, 0, endpointless(f.peer(1)))
	err := f.approach(t, func(_ *testing.T, _ *fleet, _ *ikeConfig, child *childConfig) {
		child.LocalTS, child.RemoteTS = []string{"::/0"}, []string{"::/0"}
	})
	if err != nil {
		t.Fatal(err)
	}
	foreign := netip.MustParseAddr("fd12:3400:0:77::1")
	if f.lab.Deliver(t, 1, 0, foreign, f.device(0).Address, f.device(1).Address) {
		t.Error("a source outside of its prefix was delivered")
	}
}

// Whoever prefers the other cipher gets it.
func TestBothCiphersWork(t *testing.T) {
	f := newFleet(t, newHarness(t, KindUserspace, 2))
	f.put(t, 0, endpointless(f.peer(1)))
	err := f.approach(t, func(_ *testing.T, _ *fleet, c *ikeConfig, child *childConfig) {
		c.Proposals, child.Proposals = ikeProposals[1:], espProposals[1:]
	})
	if err != nil {
		t.Fatal(err)
	}
	if st := f.await(t, 0, 1); st.Cipher != "chacha20_poly1305" {
		t.Errorf("the cipher is %q, want chacha20_poly1305", st.Cipher)
	}
	if !f.lab.Deliver(t, 1, 0, f.device(1).Address, f.device(0).Address, f.device(1).Address) {
		t.Error("a datagram was not delivered")
	}
}

// log is what a node's charon has said.
func (f *fleet) log(t *testing.T, node int) string {
	t.Helper()
	text, err := os.ReadFile(logPath(f.dir(node)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// endpointless is a peer that has to begin by itself.
func endpointless(p tunnel.Peer) tunnel.Peer {
	p.Endpoint = tunnel.Peer{}.Endpoint
	return p
}

// approach lets node 1 turn to node 0, and returns why it was refused.
func (f *fleet) approach(t *testing.T, alter func(*testing.T, *fleet, *ikeConfig, *childConfig)) error {
	t.Helper()
	c, err := f.raw(1).local().config(f.peer(0), 1)
	if err != nil {
		t.Fatal(err)
	}
	_, child := c.child()
	alter(t, f, &c, &child)
	c.Children = map[string]childConfig{"approach": child}
	secret := map[string]any{"type": "IKE", "data": "not-a-secret-at-all", "owners": []string{c.Local.ID, c.Remote.ID}}
	for _, node := range []int{0, 1} { // even if both had it
		if err := f.command(t, node, "load-shared", secret); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.command(t, 1, "load-conn", map[string]ikeConfig{"approach": c}); err != nil {
		t.Fatal(err)
	}
	err = f.command(t, 1, "initiate", map[string]string{"ike": "approach", "child": "approach", "timeout": "4000"})
	if err == nil {
		return nil
	}
	for _, e := range []error{
		f.raw(1).terminate(t.Context(), map[string]string{"ike": "approach", "force": "yes"}),
		f.command(t, 1, "unload-conn", map[string]string{"name": "approach"}),
	} {
		if e != nil {
			t.Fatal(e)
		}
	}
	return err
}
