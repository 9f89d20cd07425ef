package netns

import (
	"fmt"
	"net/netip"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/frame"
)

// A container begins far more flows than its host can keep, and gets answers to
// them. It fills its own share: the connections of others live, and they begin
// new ones, on its host and on the one that it floods.
//
//	edge-1: evil 10.0.0.2, web 10.0.0.3     edge-2: db 10.0.0.4, cache 10.0.0.5
func TestAFloodOfFlowsLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	l := lab.NewTimed(t)
	edge1, edge2 := l.Host("edge-1"), l.Host("edge-2")
	for _, host := range []*lab.Host{edge1, edge2} {
		host.Flags["max-flows"] = "2048"
		host.Start()
	}
	edge1.Init()
	edge2.Join(edge1.Token())
	l.AwaitMesh(edge1, edge2)
	edge1.VPC("blue", "10.0.0.0/24")
	edge1.AddRule("blue", "default", "ingress any - from any")
	evil, web := edge1.Container("evil"), edge1.Container("web").Serves("tcp/7")
	db, cache := edge2.Container("db").Serves("tcp/7", "udp/53"), edge2.Container("cache").Serves("tcp/7")
	for i, c := range []*lab.Container{evil, web, db, cache} {
		c.Attach("blue", fmt.Sprintf("10.0.0.%d", i+2))
	}
	evil.Reaches(db, "udp/53")
	flows := []*lab.Flow{web.Streams(db, "tcp/7"), cache.Streams(db, "tcp/7"), cache.Streams(web, "tcp/7")}
	for _, flow := range flows {
		flow.Runs()
	}

	var flood [][]byte
	mac := evil.MAC()
	for port := range uint16(20_000) {
		datagram := frame.UDP(netip.AddrPortFrom(evil.IP, 30_000+port), netip.AddrPortFrom(db.IP, 53), []byte("flood"))
		packet := frame.IPv4{Src: evil.IP, Dst: db.IP, Protocol: frame.ProtoUDP}.Packet(datagram)
		flood = append(flood, frame.Ethernet(frame.GatewayMAC, mac, frame.TypeIPv4, packet))
	}
	for range 3 {
		evil.Injects("eth0", flood...)
		web.Reaches(cache, "tcp/7")
		cache.Reaches(web, "tcp/7")
	}
	for _, flow := range flows {
		flow.Runs()
		if status := flow.Stop(); status.Ended != "" {
			t.Errorf("%s ended: %s", flow, status.Ended)
		}
	}
	// It was a flood: far more than the host keeps. What is answered in time fills
	// evil's share, and more is refused; what is not is replaced.
	attacker, err := edge1.Endpoint("blue", "evil")
	if err != nil {
		t.Fatal(err)
	}
	counters := attacker.GetCounters()
	if begun, refused := counters.GetFlows(), counters.GetDrops()["flow-budget"]; begun+refused < 20_000 {
		t.Errorf("evil began %d flows and was refused %d: that is no flood", begun, refused)
	}
	for _, victim := range []*lab.Container{web, cache} {
		if refused := drops(t, victim)["flow-budget"]; refused != 0 {
			t.Errorf("%s was refused %d flows", victim, refused)
		}
	}
}
