package agent

import (
	"net/netip"
	"time"
)

// Outcome is how an attempt to reach a service ended.
type Outcome string

// The outcomes of a probe.
const (
	// Answered: the service gave an answer.
	Answered Outcome = "answered"
	// Refused: something there said no (a reset or port unreachable).
	Refused Outcome = "refused"
	// Silent: no answer in time.
	Silent Outcome = "silent"
	// Unreachable: this side, or a host on the way, said that there is no way.
	Unreachable Outcome = "unreachable"
)

// ServeArgs asks for a server that answers with a name.
type ServeArgs struct {
	// Network is tcp, udp, http or sink (datagrams that are not answered).
	Network string
	Port    uint16
	// Answer is what it tells everyone who asks.
	Answer string
}

// ProbeArgs asks for one attempt to reach a service.
type ProbeArgs struct {
	// Network is tcp, udp, http or icmp (Port is ignored then).
	Network string
	Target  netip.Addr
	Port    uint16
	Timeout time.Duration
}

// ProbeReply says how the attempt ended.
type ProbeReply struct {
	Outcome Outcome
	// Answer of the service, without the line's end; empty for icmp.
	Answer string
	// Reason in words unless answered.
	Reason string
	// Took is from the first packet to the answer.
	Took time.Duration
}

// SayArgs is a text for a port.
type SayArgs struct {
	// Network is tcp or udp.
	Network string
	Target  netip.Addr
	Port    uint16
	Text    string
}

// TransferArgs asks to send bytes to an echoing server and to compare what comes
// back.
type TransferArgs struct {
	// Network is tcp or udp.
	Network string
	Target  netip.Addr
	Port    uint16
	// Size in bytes of each message, and how many are sent one after another.
	Size, Count int
	Timeout     time.Duration
}

// PingArgs asks for echo requests at a steady interval.
type PingArgs struct {
	Target   netip.Addr
	Interval time.Duration
}

// PingReport counts a ping that has ended.
type PingReport struct {
	Sent, Received int
	// Lost are the numbers of the unanswered requests, from 0; LostAt is how long
	// after Began each was sent: a busy machine sends fewer than the interval says.
	Lost   []int
	LostAt []time.Duration
	Began  time.Time
	// Interval at which they were sent.
	Interval time.Duration
	// RTTs of the answered ones, in order.
	RTTs []time.Duration
}

// FlowArgs asks for one TCP connection that talks all the time to a server of
// an agent.
type FlowArgs struct {
	Target   netip.Addr
	Port     uint16
	Interval time.Duration
	// Size in bytes of what is sent each time; the least is a line.
	Size int
}

// FlowStatus says how a flow is doing.
type FlowStatus struct {
	// Peer is the answer of the server at the start.
	Peer string
	// Echoes is how many messages came back.
	Echoes int
	// Quiet is how long ago the last one did, Longest the longest time between
	// two of them.
	Quiet, Longest time.Duration
	// Ended is empty while the connection is open, else why it is not.
	Ended string
}

// CrowdArgs asks for HTTP clients that keep a connection each and ask at an
// interval.
type CrowdArgs struct {
	Target      netip.Addr
	Port        uint16
	Connections int
	Interval    time.Duration
}

// CrowdReport counts a crowd that has ended.
type CrowdReport struct {
	Requests int
	// Dials is how many connections it took.
	Dials int
	// Failed is how many requests got no answer; Failures says why, of the first.
	Failed   int
	Failures []string
}

// BlastArgs asks for datagrams at a rate.
type BlastArgs struct {
	Target netip.Addr
	Port   uint16
	// Rate is datagrams per second, Size their payload in bytes.
	Rate, Size int
}

// BlastReport counts a blast that has ended.
type BlastReport struct {
	// Sent are those that the kernel took, Refused those that it did not.
	Sent, Refused int
}

// InjectArgs are frames to be sent as they are.
type InjectArgs struct {
	Interface string
	Frames    [][]byte
}

// Interface is one network interface of the namespace.
type Interface struct {
	Name      string
	MAC       string
	MTU       int
	Addresses []netip.Prefix
}
