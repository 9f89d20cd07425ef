package isolation

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// FlowState is what a flow is doing, for instance "tcp-established".
type FlowState string

// flowTimeouts say how long a flow that is silent is kept by default. Those of
// TCP are about Linux's own (net.netfilter.nf_conntrack_tcp_timeout_*), but for
// established connections: RFC 5382, REQ-5, wants 2 hours and 4 minutes at least.
var flowTimeouts = map[edgenetFlowState]time.Duration{
	edgenetFlowStateFLOW_TCP_SYN_SENT:    time.Minute,
	edgenetFlowStateFLOW_TCP_SYN_RECV:    time.Minute,
	edgenetFlowStateFLOW_TCP_ESTABLISHED: 2*time.Hour + 5*time.Minute,
	edgenetFlowStateFLOW_TCP_FIN_WAIT:    2 * time.Minute,
	edgenetFlowStateFLOW_TCP_CLOSE_WAIT:  time.Hour,
	edgenetFlowStateFLOW_TCP_LAST_ACK:    30 * time.Second,
	edgenetFlowStateFLOW_TCP_CLOSING:     30 * time.Second,
	edgenetFlowStateFLOW_TCP_TIME_WAIT:   10 * time.Second,
	edgenetFlowStateFLOW_TCP_CLOSED:      10 * time.Second,
	edgenetFlowStateFLOW_UDP_UNREPLIED:   30 * time.Second,
	edgenetFlowStateFLOW_UDP_REPLIED:     time.Minute,
	edgenetFlowStateFLOW_UDP_STREAM:      3 * time.Minute,
	edgenetFlowStateFLOW_SCTP_UNREPLIED:  time.Minute,
	edgenetFlowStateFLOW_SCTP_REPLIED:    10 * time.Minute,
	edgenetFlowStateFLOW_ICMP:            30 * time.Second,
	edgenetFlowStateFLOW_OTHER_UNREPLIED: time.Minute,
	edgenetFlowStateFLOW_OTHER_REPLIED:   10 * time.Minute,
}

// A flow's last packet is noted by the second, and by a clock that may be slow by
// some milliseconds.
const (
	minFlowTimeout = 2 * time.Second
	maxFlowTimeout = 30 * 24 * time.Hour
)

// flowStateNames are the names of enum flow_state.
var flowStateNames = sync.OnceValues(func() (map[uint32]string, error) { return enumNames("flow_state", "FLOW_") })

// DefaultFlowTimeouts says for every state of a flow how long one that is silent
// is kept, unless [Config.FlowTimeouts] says otherwise.
func DefaultFlowTimeouts() (map[FlowState]time.Duration, error) {
	names, err := flowStateNames()
	if err != nil {
		return nil, err
	}
	all := make(map[FlowState]time.Duration, len(flowTimeouts))
	for state, timeout := range flowTimeouts {
		all[FlowState(names[uint32(state)])] = timeout
	}
	return all, nil
}

// CheckFlowTimeouts refuses states that do not exist, and times that cannot be
// kept.
func CheckFlowTimeouts(wanted map[FlowState]time.Duration) error {
	known, err := DefaultFlowTimeouts()
	if err != nil {
		return err
	}
	for state, timeout := range wanted {
		if _, ok := known[state]; !ok {
			return fmt.Errorf("flow state %q is unknown; there are %s", state, joined(slices.Sorted(maps.Keys(known))))
		}
		if timeout < minFlowTimeout || timeout > maxFlowTimeout {
			return fmt.Errorf("time-out %v of %s is not from %v to %v", timeout, state, minFlowTimeout, maxFlowTimeout)
		}
	}
	return nil
}

func joined(states []FlowState) string {
	words := make([]string, len(states))
	for i, s := range states {
		words[i] = string(s)
	}
	return strings.Join(words, ", ")
}

// setTimeouts tells the programs how long flows live. Flows that are there live by
// it from now on.
func (t *tables) setTimeouts(wanted map[FlowState]time.Duration) error {
	names, err := flowStateNames()
	if err != nil {
		return err
	}
	for state, timeout := range flowTimeouts {
		if other, ok := wanted[FlowState(names[uint32(state)])]; ok {
			timeout = other
		}
		atomic.StoreUint64(&t.state.Timeouts[state], uint64(timeout))
	}
	return nil
}
