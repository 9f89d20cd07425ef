package isolation

import (
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// talk is a TCP connection of web's port 40000 with far's port 80, by programs.
type talk struct {
	*bench
	t testing.TB
}

func newTalk(t *testing.T) talk {
	b := newBench(t)
	b.rules(nothing, allowAll)
	return talk{b, t}
}

// web sends a segment, with SYN also the option to scale windows by 7; far
// answers likewise.
func (c talk) web(flags byte, sequence, ack uint32, content string) {
	c.t.Helper()
	c.redirect(c.t, c.dp.fromEndpoint, c.webSegment(flags, sequence, ack, content))
}

func (c talk) far(flags byte, sequence, ack uint32, content string) {
	c.t.Helper()
	c.redirect(c.t, c.dp.fromTunnel, c.farSegment(flags, sequence, ack, content))
}

func (c talk) webSegment(flags byte, sequence, ack uint32, content string) []byte {
	segment := scaled(tcpSegmentAt(40000, 80, flags, sequence, ack, content), flags)
	return frame4(ipv4Packet(webAddr, farAddr, 6, seal4(webAddr, farAddr, 6, segment)))
}

func (c talk) farSegment(flags byte, sequence, ack uint32, content string) []byte {
	return fromFar(6, scaled(tcpSegmentAt(80, 40000, flags, sequence, ack, content), flags))
}

// refused wants a segment to be dropped as far outside.
func (c talk) refused(p *ebpf.Program, packet []byte) {
	c.t.Helper()
	c.drop(c.t, p, packet, 0, "bad-sequence")
}

// scaled adds, to a SYN, the option to scale windows by 7.
func scaled(segment []byte, flags byte) []byte {
	if flags&flagSYN == 0 {
		return segment
	}
	segment[12] = 6 << 4
	return append(segment[:20:20], append([]byte{1, 3, 3, 7}, segment[20:]...)...)
}

// is wants the connection to be in a state.
func (c talk) is(want FlowState) {
	c.t.Helper()
	for flow, err := range c.dp.Flows(c.t.Context(), FlowFilter{Protocol: unix.IPPROTO_TCP}) {
		if err != nil {
			c.t.Fatal(err)
		}
		if flow.State != want {
			c.t.Fatalf("the connection is %s, want %s", flow.State, want)
		}
		return
	}
	c.t.Fatalf("there is no connection, want one that is %s", want)
}

// open shakes hands: the next of web's is 1001, of far's 5001.
func (c talk) open() {
	c.t.Helper()
	c.web(flagSYN, 1000, 0, "")
	c.is("tcp-syn-sent")
	c.far(flagSYN|flagACK, 5000, 1001, "")
	c.is("tcp-syn-recv")
	c.web(flagACK, 1001, 5001, "")
	c.is("tcp-established")
}

func TestAConnectionGoesThroughItsStates(t *testing.T) {
	t.Run("one side ends after the other", func(t *testing.T) {
		c := newTalk(t)
		c.open()
		c.web(flagACK, 1001, 5001, "question")
		c.far(flagACK, 5001, 1009, "answer")
		c.web(flagFIN|flagACK, 1009, 5007, "")
		c.is("tcp-fin-wait")
		c.far(flagACK, 5007, 1010, "")
		c.is("tcp-close-wait")
		c.far(flagACK, 5007, 1010, "more")
		c.far(flagFIN|flagACK, 5011, 1010, "")
		c.is("tcp-last-ack")
		c.web(flagACK, 1010, 5012, "")
		c.is("tcp-time-wait")
		c.web(flagSYN, 90000, 0, "")
		c.is("tcp-syn-sent")
	})
	t.Run("both end at once", func(t *testing.T) {
		c := newTalk(t)
		c.open()
		c.web(flagFIN|flagACK, 1001, 5001, "")
		c.far(flagFIN|flagACK, 5001, 1001, "")
		c.is("tcp-closing")
		c.web(flagACK, 1002, 5002, "")
		c.is("tcp-last-ack")
		c.far(flagACK, 5002, 1002, "")
		c.is("tcp-time-wait")
	})
	t.Run("a reset", func(t *testing.T) {
		c := newTalk(t)
		c.open()
		c.far(flagRST, 5001, 0, "")
		c.is("tcp-closed")
	})
	t.Run("a refusal", func(t *testing.T) {
		c := newTalk(t)
		c.web(flagSYN, 1000, 0, "")
		c.far(flagRST|flagACK, 0, 1001, "")
		c.is("tcp-closed")
	})
	t.Run("taken up in the middle", func(t *testing.T) {
		c := newTalk(t)
		c.web(flagACK, 1<<31, 7, "data")
		c.far(flagACK, 7, 1<<31+4, "data")
		c.is("tcp-established")
		c.far(flagRST, 11, 0, "")
		c.is("tcp-closed")
	})
}

func TestWhatIsFarOutsideChangesNothing(t *testing.T) {
	c := newTalk(t)
	c.open()
	const window = 0xffff << 7
	for name, offset := range map[string]uint32{
		"behind": window + 2*65536, "before": 1<<32 - (window + 2*65536), "opposite": 1 << 31,
	} {
		t.Run(name, func(*testing.T) {
			c.refused(c.dp.fromTunnel, c.farSegment(flagRST, 5001+offset, 0, ""))
			c.refused(c.dp.fromTunnel, c.farSegment(flagFIN|flagACK, 5001+offset, 1001, ""))
			c.refused(c.dp.fromTunnel, c.farSegment(flagACK, 5001+offset, 1001, "data"))
			c.refused(c.dp.fromEndpoint, c.webSegment(flagRST|flagACK, 1001+offset, 5001, ""))
			c.is("tcp-established")
		})
	}
	// What is within a window, lost on the way or late, is none of it.
	c.far(flagACK, 5001+window/2, 1001, "ahead")
	c.far(flagACK, 5001, 1001, "late")
	c.far(flagACK, 5000, 1001, "") // keepalive
	c.is("tcp-established")
}

func TestARefusalMustAnswerTheCall(t *testing.T) {
	c := newTalk(t)
	c.web(flagSYN, 1000, 0, "")
	c.refused(c.dp.fromTunnel, c.farSegment(flagRST|flagACK, 0, 1001+1<<20, ""))
	c.refused(c.dp.fromTunnel, c.farSegment(flagSYN|flagACK, 5000, 1<<30, ""))
	c.is("tcp-syn-sent")
}

// A side that has forgotten the connection calls again with the same ports: the
// other one answers with what it knows, and is reset, or accepts the call.
func TestASideThatForgotMayBeginAnew(t *testing.T) {
	t.Run("the other remembers", func(t *testing.T) {
		c := newTalk(t)
		c.open()
		c.web(flagSYN, 777000, 0, "")
		c.is("tcp-established")
		c.far(flagACK, 5001, 1001, "")
		c.web(flagRST, 1001, 0, "")
		c.is("tcp-closed")
		c.web(flagSYN, 777000, 0, "")
		c.far(flagSYN|flagACK, 1<<30, 777001, "")
		c.web(flagACK, 777001, 1<<30+1, "")
		c.is("tcp-established")
	})
	t.Run("the other has forgotten, too", func(t *testing.T) {
		c := newTalk(t)
		c.open()
		c.web(flagSYN, 1<<31, 0, "")
		c.far(flagSYN|flagACK, 1<<30, 1<<31+1, "")
		c.is("tcp-syn-recv")
		c.web(flagACK, 1<<31+1, 1<<30+1, "data")
		c.is("tcp-established")
		c.far(flagACK, 1<<30+1, 1<<31+5, "data")
	})
}

// A packet that stands for many counts with all of its bytes.
func TestSequencesFollowLargePackets(t *testing.T) {
	c := newTalk(t)
	c.open()
	content := string(make([]byte, 1300))
	next := uint32(5001)
	for range 200 {
		c.far(flagACK, next, 1001, content)
		next += uint32(len(content))
		c.web(flagACK, 1001, next, "")
	}
	c.is("tcp-established")
	c.refused(c.dp.fromTunnel, c.farSegment(flagRST, next+0xffff<<7+65537, 0, ""))
}

// The window scale is found behind other options, and an option that leads
// nowhere is no endless search.
func TestOptionsAreReadWithinTheirBounds(t *testing.T) {
	for name, c := range map[string]struct {
		options []byte
		scale   uint8
	}{
		"none":             {nil, 0},
		"alone":            {[]byte{3, 3, 9, 0}, 9},
		"behind others":    {[]byte{2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 5}, 5},
		"too large":        {[]byte{3, 3, 200, 0}, 14},
		"behind the end":   {[]byte{0, 3, 3, 9}, 0},
		"of no length":     {[]byte{5, 0, 3, 3, 3, 3, 9, 0}, 0},
		"past the header":  {[]byte{5, 40, 3, 3}, 0},
		"cut off":          {[]byte{1, 1, 3, 3}, 0},
		"forty do-nothing": {[]byte{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.rules(nothing, allowAll)
			segment := append(tcpSegmentAt(40000, 80, flagSYN, 1000, 0, ""), c.options...)
			segment[12] = byte(5+len(c.options)/4) << 4
			b.redirect(t, b.dp.fromEndpoint, frame4(ipv4Packet(webAddr, farAddr, 6, segment)))
			var (
				key  edgenetFlowKey
				flow edgenetFlow
			)
			entries := b.dp.maps.Flows.Iterate()
			if !entries.Next(&key, &flow) {
				t.Fatal("no flow")
			}
			if got := flow.Sides[edgenetDirectionEGRESS].Scale; got != c.scale {
				t.Errorf("scale %d, want %d", got, c.scale)
			}
		})
	}
}

// Whatever is sent, programs keep their word: an established connection is
// closed by nothing that is far outside.
func FuzzSequence(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Fuzz(func(t *testing.T, script []byte) {
		c := newTalk(t)
		c.open()
		for len(script) >= 9 {
			flags, sequence, ack := script[0], binary.BigEndian.Uint32(script[1:]), binary.BigEndian.Uint32(script[5:])
			script = script[9:]
			if sequence-5001+0xffff<<8 < 0xffff<<9+1 {
				continue // It may be plausible.
			}
			run(t, c.dp.fromTunnel, c.farSegment(flags&^flagSYN, sequence, ack, "x"), 0)
		}
		c.is("tcp-established")
	})
}
