package mesh

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"
)

// No packet that is larger than any honest one gets to memberlist, which would unpack
// it, whoever has sealed it.
func TestVastPacketsAreNotUnpacked(t *testing.T) {
	hosts := newMesh(t, "centre", "edge")
	l := &liar{Mesh: hosts[1].Mesh, s: hosts[1].session}
	b, err := bomb(39 << 20)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) <= maxDatagram {
		t.Fatalf("the bomb has %d bytes, as a packet may", len(b))
	}
	if err := l.packet(b); err != nil {
		t.Fatal(err)
	}
	eventuallyPolled(t, func() error {
		if hosts[0].Refusals()[refusedOversize] == 0 {
			return fmt.Errorf("refused is %v", hosts[0].Refusals())
		}
		return nil
	})
}

// Who opens streams of gossip and says nothing on them has a few, and keeps nobody
// else from exchanging members.
func TestStreamsOfOneSourceAreFew(t *testing.T) {
	hosts := newMesh(t, "centre", "edge")
	gossip, _ := hosts[0].gossipAddrPort(hosts[0].id)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: loopback().AsSlice()}}
	closed := func() bool {
		t.Helper()
		conn, err := dialer.Dial("tcp", gossip.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		_, err = conn.Read(make([]byte, 1))
		return !errors.Is(err, os.ErrDeadlineExceeded)
	}
	for range maxSourceStreams {
		if closed() {
			t.Fatal("a stream that is one of a few is closed at once")
		}
	}
	// The first ones end by themselves after streamTimeout.
	if !closed() {
		t.Error("there may be as many as anybody likes")
	}
	if _, err := hosts[1].session.list.Join([]string{gossip.String()}); err != nil {
		t.Errorf("another cannot exchange members: %v", err)
	}
}
