package mesh

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// crowd returns a session of a node that knows count others, all alive, and their
// ids. Their records have nothing but what is looked at.
func crowd(count int) (*session, []NodeID) {
	ids := hashedIDs(count + 1)
	m := &Mesh{id: ids[0], replica: memoryReplica(nil)}
	s := &session{m: m, in: &member{}, rejoin: make(chan struct{}, 1)}
	s.vigil = &vigil{s: s, watches: newWatches(timings[ProfileWAN], time.Now())}
	s.members = newMembers(m, s.membersChanged)
	s.members.evicted = func(NodeID) bool { return false }
	s.vigil.tally = s.members.tally
	for i, id := range ids {
		m.replica.table.put(bareNode(id, Version(1+i), time.Now().Add(time.Hour)))
		if i > 0 {
			s.members.NotifyJoin(&memberlist.Node{Name: string(id), Addr: net.IPv4(10, 0, byte(i>>8), byte(i)), Port: DefaultGossipPort})
		}
	}
	m.replica.table.settle(Version(len(ids)))
	return s, ids
}

// bareNode is a node's record that says nothing but until when it is admitted.
func bareNode(id NodeID, v Version, expires time.Time) *entry {
	return &entry{
		Record: Record{Kind: KindNode, Key: string(id), Node: id, Version: v},
		author: &author{info: &nodeInfo{}, credential: &credential{expires: expires}},
	}
}

// A node looks for those that are dead, not for those that are there, have left, or
// would not be let in.
func TestWhoIsMissing(t *testing.T) {
	s, ids := crowd(8)
	silent := hashedIDs(12)[9:] // Known by their records, and never heard.
	for _, id := range silent {
		s.m.replica.table.put(bareNode(id, 100, time.Now().Add(time.Hour)))
	}
	never, expired := silent[1:], silent[0]
	s.m.replica.table.put(bareNode(expired, 101, time.Now().Add(-time.Hour)))
	s.m.replica.table.put(&entry{Record: Record{Kind: KindNode, Key: string(ids[5]), Node: ids[5], Version: 100, Deleted: true}})
	dead, there := s.missing()
	slices.Sort(dead)
	slices.Sort(never)
	if !slices.Equal(dead, never) || there != 7 {
		t.Errorf("dead are %v and %d are there, want %v and 7", dead, there, never)
	}
	s.in.seeds = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:7947")}
	if s.lost(there) || !s.lost(0) {
		t.Error("who sees five others is lost, or who sees none is not")
	}
}

// BenchmarkAtRest is what ten seconds of rest cost a node that grow with the number
// of nodes: its witnesses are found anew every two seconds, dead nodes are looked
// for every ten.
func BenchmarkAtRest(b *testing.B) {
	for _, count := range []int{150, 1000, 5000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			s, ids := crowd(count)
			for b.Loop() {
				for range 10 * time.Second / thereLife {
					there := s.members.there(ids[0])
					if len(witnessesOf(ids[0], there, witnessCount)) != witnessCount {
						b.Fatal("too few witnesses")
					}
				}
				if dead, _ := s.missing(); len(dead) != 0 {
					b.Fatalf("%d are dead", len(dead))
				}
			}
		})
	}
}
