package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"

	api "edgenet.dev/edgenet/api/edgenet/v1"
)

var (
	tunnelCount    = desc("tunnels", "Tunnels of this node to others, by driver and state; those that are not needed have no driver.", "driver", "state")
	tunnelUp       = desc("tunnel_up", "1 if the tunnel to the node is up or rests, else 0.", "peer", "driver")
	tunnelReceived = desc("tunnel_receive_bytes_total", "Bytes received through the tunnel; anew where its driver counts anew.", "peer", "driver")
	tunnelSent     = desc("tunnel_transmit_bytes_total", "Bytes sent through the tunnel; anew where its driver counts anew.", "peer", "driver")
	tunnelRekeys   = desc("tunnel_rekeys_total", "How often the tunnel's keys were replaced.", "peer", "driver")
	tunnelReplayed = desc("tunnel_replayed_packets_total", "Packets that the kernel dropped because they were there before, or came too late to tell.", "peer", "driver")
	tunnelForged   = desc("tunnel_forged_packets_total", "Packets that the kernel dropped because the peer has not encrypted them.", "peer", "driver")
	tunnelRTT      = desc("tunnel_rtt_seconds", "Round-trip time inside the tunnel.", "peer", "driver")
	tunnelLoss     = desc("tunnel_probe_loss_ratio", "How many of the last 100 probes in the tunnel were lost, 0 to 1.", "peer", "driver")
	tunnelMTU      = desc("tunnel_path_mtu_bytes", "Bytes that a packet in the tunnel can have.", "peer", "driver")
	tunnelKeys     = desc("tunnel_last_handshake_timestamp_seconds", "When the keys were made that packets are encrypted with, in seconds since 1970.", "peer", "driver")
	tunnelProblems = desc("tunnel_problems", "How much is wrong with the tunnel: the problems that edgenetctl tunnel show names.", "peer", "driver")
)

var ofTunnels = []*prometheus.Desc{
	tunnelCount, tunnelUp, tunnelReceived, tunnelSent, tunnelRekeys, tunnelReplayed, tunnelForged,
	tunnelRTT, tunnelLoss, tunnelMTU, tunnelKeys, tunnelProblems,
}

// States of tunnels, as the API has them.
const (
	stateUp      = "up"
	stateResting = "resting"
	stateUnused  = "not needed"
)

// collectTunnels tells of the tunnels. Those that nothing needs are only counted: in a
// mesh of thousands that is most of them.
func collectTunnels(to sink, tunnels []*api.PeerTunnel) {
	count := map[[2]string]int{}
	for _, p := range tunnels {
		t := p.GetTunnel()
		if t.GetState() == stateUnused || t == nil && len(p.GetDriver()) == 0 {
			count[[2]string{"", stateUnused}]++
			continue
		}
		driver := t.GetDriver()
		if driver == "" {
			driver = p.GetDriver()
		}
		count[[2]string{driver, t.GetState()}]++
		collectTunnel(to, t, p.GetNode(), driver)
	}
	for of, n := range count {
		to.gauge(tunnelCount, float64(n), of[0], of[1])
	}
}

func collectTunnel(to sink, t *api.Tunnel, labels ...string) {
	up := 0.0
	if t.GetState() == stateUp || t.GetState() == stateResting {
		up = 1
	}
	to.gauge(tunnelUp, up, labels...)
	to.counter(tunnelReceived, t.GetRxBytes(), labels...)
	to.counter(tunnelSent, t.GetTxBytes(), labels...)
	to.counter(tunnelRekeys, t.GetRekeys(), labels...)
	to.counter(tunnelReplayed, t.GetReplayedPackets(), labels...)
	to.counter(tunnelForged, t.GetForgedPackets(), labels...)
	to.gauge(tunnelProblems, float64(len(t.GetProblems())), labels...)
	to.gauge(tunnelMTU, float64(t.GetPathMtu()), labels...)
	// What was not measured is not told.
	if t.GetRttMs() > 0 {
		to.gauge(tunnelRTT, t.GetRttMs()/1000, labels...)
	}
	if t.GetProbes() > 0 {
		to.gauge(tunnelLoss, float64(t.GetProbesLost())/float64(t.GetProbes()), labels...)
	}
	if at := t.GetLastHandshake(); at != nil {
		to.gauge(tunnelKeys, seconds(at), labels...)
	}
}

// seconds are those since 1970.
func seconds(at *timestamppb.Timestamp) float64 { return float64(at.AsTime().UnixMilli()) / 1000 }
