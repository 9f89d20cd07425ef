package netns

import (
	"fmt"
	"math"
	"net/netip"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/test/netns/lab"
)

// recordLies are told by records: by gossip and over the peer API, each of them.
func (m *lied) recordLies() []meshLie {
	about := m.honest[2].Name
	fields := m.endpoint(netip.MustParseAddr("10.0.0.77"), 1)
	// The epoch has 32 bits: 2⁶³ is none.
	vast := protowire.AppendVarint(protowire.AppendTag(m.endpoint(netip.MustParseAddr("10.0.0.77"), 0), 15, protowire.VarintType), 1<<63)
	key := func(name string) string { return fmt.Sprintf("%d/%s", m.vni, name) }
	return []meshLie{
		{Lie: lab.Lie{Lie: "another's node record", Victim: about}, reasons: []string{"bad-certificate", "bad-signature", "wrong-author"}},
		{Lie: lab.Lie{Lie: "another's endpoints", Victim: about}, reasons: []string{"bad-signature", "wrong-author"}},
		{Lie: lab.Lie{Lie: "what only authorities say", Victim: about}, reasons: []string{"wrong-author", "bad-signature"}},
		{Lie: lab.Lie{Lie: "deletions of what is another's"}, reasons: []string{"wrong-author", "bad-signature"}},
		{Lie: lab.Lie{Lie: "versions of the future", Payload: fields, Key: key("later")}, reasons: []string{"future-version"}},
		{Lie: lab.Lie{Lie: "an endpoint of its own", Payload: vast, Key: key("vast")}, reasons: []string{"bad-payload"}},
		{Lie: lab.Lie{Lie: "what was true once"}},
		{Lie: lab.Lie{Lie: "changed envelopes"}, reasons: []string{"bad-signature"}},
		{Lie: lab.Lie{Lie: "records in other forms"}, reasons: []string{"malformed", "unknown-kind", "bad-key", "oversize"}},
		{Lie: lab.Lie{Lie: "certificates", Victim: about}, reasons: []string{"bad-certificate", "bad-payload"}},
		{Lie: lab.Lie{Lie: "another's underlay", Victim: about}},
		{Lie: lab.Lie{Lie: "the truth again"}},
	}
}

// endpoint is the payload of an endpoint of the liar's, with a claim on an address.
func (m *lied) endpoint(ip netip.Addr, epoch uint32) []byte {
	m.t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&records.Endpoint{
		Ip: ip.String(), Groups: []string{"all"}, Kind: records.KindTap, Device: "lie0", Epoch: epoch,
		Claim: uint64(time.Now().UnixMilli()) << 16, // a version of now
	})
	check(m.t, err)
	return b
}

// claims has the liar claim an address that is another's, in the highest epoch that
// there is. Without grants that is within its rights, and all see it; who is attached
// there anew has it again, for good.
func (m *lied) claims() {
	m.t.Helper()
	lie := lab.Lie{Lie: "an endpoint of its own", Payload: m.endpoint(m.decoy.IP, math.MaxUint32), Key: fmt.Sprintf("%d/thief", m.vni)}
	m.liar.Tells(lie)
	for _, host := range m.honest {
		m.l.Await(host.Name+" sees where the address went", func() error { return endpointIs(host, "thief", m.taken.Name, "ready") })
		m.l.Await(host.Name+" sees whom that supersedes", func() error {
			return endpointIs(host, m.decoy.Name, m.decoy.Host().Name, "superseded")
		})
	}
	m.decoy.Attach("blue", m.decoy.IP.String(), "all")
	for _, host := range m.honest {
		m.l.Await(host.Name+" sees the address back", func() error {
			return endpointIs(host, m.decoy.Name, m.decoy.Host().Name, "ready")
		})
	}
	lie.Lie = "an endpoint of its own, withdrawn"
	m.liar.Tells(lie)
	m.learn()
}

// lifeLies are about who is there.
func (m *lied) lifeLies() []meshLie {
	about := m.honest[2].Name
	return []meshLie{
		// Others may have heard the node meanwhile by memberlist, which proves nothing.
		{Lie: lab.Lie{Lie: "a node is silent", Victim: about}, reasons: []string{"refuted"}, by: m.honest[2:]},
		{Lie: lab.Lie{Lie: "a node is silent, say others", Victim: about}, reasons: []string{"bad-signature", "unknown-author"}},
		{Lie: lab.Lie{Lie: "beats of another", Victim: about}, reasons: []string{"bad-signature"}, by: m.honest[:2]},
		{Lie: lab.Lie{Lie: "many nodes are silent, very often", Count: 100}, reasons: []string{"too-much"}},
		{Lie: lab.Lie{Lie: "a node is suspect, by memberlist", Victim: about}},
		{Lie: lab.Lie{Lie: "a node is dead, by memberlist", Victim: about}},
		{Lie: lab.Lie{Lie: "a node has left", Victim: about}},
		{Lie: lab.Lie{Lie: "a node is elsewhere", Victim: about}},
		{Lie: lab.Lie{Lie: "a node is dead for good", Victim: about}},
	}
}

// gossipLies are nonsense, and too much.
func (m *lied) gossipLies() []meshLie {
	return []meshLie{
		{Lie: lab.Lie{Lie: "nonsense"}, reasons: []string{"malformed", "oversize"}},
		{Lie: lab.Lie{Lie: "digests", Count: 40}, reasons: []string{"too-often"}},
		{Lie: lab.Lie{Lie: "packets without a key", Count: 2000}},
		{Lie: lab.Lie{Lie: "bombs", Count: 10}, reasons: []string{"oversize"}},
		{Lie: lab.Lie{Lie: "members that are nobody", Count: 2000}},
	}
}

// peerLies are told over the peer API.
func (m *lied) peerLies() []meshLie {
	return []meshLie{
		{Lie: lab.Lie{Lie: "joins", Token: m.used}},
		{Lie: lab.Lie{Lie: "huge requests"}},
		{Lie: lab.Lie{Lie: "more than its share", Count: 40 << 10}, reasons: []string{"too-much"}},
		{Lie: lab.Lie{Lie: "calls that never end", Count: 100}},
		{Lie: lab.Lie{Lie: "connections", Count: 400}},
	}
}
