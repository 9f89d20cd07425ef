package lab

import (
	"os"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab/agent"
	"edgenet.dev/edgenet/test/netns/lab/frame"
)

func TestMain(m *testing.M) {
	agent.RunIfAsked()
	before := takeStock()
	code := m.Run()
	if err := before.compare(); err != nil {
		_, _ = os.Stderr.WriteString("left behind: " + err.Error() + "\n")
		code = 1
	}
	os.Exit(code)
}

// Machines on the internet reach each other, until a cable is pulled.
//
//	ann ── 198.18.0.0/24 ── bob
func TestStrangersTalkOverTheInternet(t *testing.T) {
	l := New(t)
	ann, bob := l.Stranger("ann"), l.Stranger("bob").Serves("tcp/80", "udp/53", "http/8080")
	ann.Reaches(bob, "icmp", "tcp/80", "udp/53", "http/8080")

	ping, flow := ann.Pings(bob.IP), ann.Streams(bob, "tcp/80")
	flow.Runs()
	ping.Loses(0)

	ping = ann.Pings(bob.IP)
	bob.Host().CutOff()
	ann.Blocked(bob, "icmp", "tcp/80", "udp/53")
	flow.Stalls()
	if report := ping.Stop(); len(report.Lost) == 0 {
		t.Errorf("a ping over a cut cable lost nothing of %d", report.Sent)
	}
	bob.Host().PlugIn()
	ann.Reaches(bob, "icmp", "tcp/80")
	flow.Stop()
}

// What is injected is captured at the other end, and nothing else matches.
func TestInjectedFramesAreCaptured(t *testing.T) {
	l := New(t)
	ann, bob := l.Stranger("ann"), l.Stranger("bob")
	// A link that was just made may lose what comes first.
	ann.Reaches(bob, "icmp")
	capture := bob.Captures(underlayDevice)
	packet := frame.IPv4{Src: ann.IP, Dst: bob.IP, Protocol: frame.ProtoGRE}.Packet([]byte("odd"))
	ann.Injects(underlayDevice, frame.Ethernet(frame.Broadcast, frame.GatewayMAC, frame.TypeIPv4, packet))
	capture.Shows("the injected frame", func(f frame.Frame) bool {
		return f.Protocol == frame.ProtoGRE && f.Src == ann.IP && string(f.Payload) == "odd"
	})
	capture.ShowsNone("IPIP", func(f frame.Frame) bool { return f.Protocol == frame.ProtoIPIP })
}

// A container is a namespace of its own, with lo and nothing else.
func TestContainersStartAlone(t *testing.T) {
	l := New(t)
	host := l.Host("edge-1")
	web := host.Container("web")
	interfaces := web.Interfaces()
	if len(interfaces) != 1 || interfaces[0].Name != "lo" {
		t.Errorf("a new container has %v, want lo alone", interfaces)
	}
	if pids := host.TunnelPIDs(); len(pids) != 0 {
		t.Errorf("an unstarted host runs %s", describe(pids))
	}
}
