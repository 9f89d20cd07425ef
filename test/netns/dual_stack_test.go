package netns

import (
	"fmt"
	"strings"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/frame"
)

// Tenants have both families, the hosts know one another by IPv6 only. Everything
// gets there, large and small, on one host and across two.
//
//	edge-1: web .2, near .4     edge-2: db .3, rack .9 (a server behind a device of MTU 1500)
func TestDualStackTenantsOverIPv6(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.UseIPv6()
	hosts := l.Mesh("edge-1", "edge-2")
	hosts[0].VPC("blue", "10.0.0.0/24", "fd00:1::/64")
	hosts[0].Group("blue", "all", open)
	services := []string{"icmp", "tcp/7", "udp/53", "http/80"}
	attach := func(host *lab.Host, name, end string) *lab.Container {
		c := host.Container(name).Serves("tcp/7", "udp/53", "http/80")
		c.Attach("blue", "10.0.0."+end+",fd00:1::"+end, "all")
		return c
	}
	web, near, db := attach(hosts[0], "web", "2"), attach(hosts[0], "near", "4"), attach(hosts[1], "db", "3")
	for _, to := range []*lab.Container{db, near} {
		web.Reaches(to, services...)
		web.Reaches(to.On6(), services...)
		to.Reaches(web.On6(), services...)
		for _, ip := range []*lab.Container{to, to.On6()} {
			web.Sends(ip, "tcp/7", 5_000_000, 1)
			web.Sends(ip, "udp/53", 4000, 3) // in fragments
			pings(t, web, ip, "-s", "2000")
			pings(t, ip, web, "-s", "8000")
		}
	}
	for target, gateway := range map[*lab.Container]string{db: "10.0.0.1", db.On6(): "fd00:1::1", near: "10.0.0.1", near.On6(): "fd00:1::1"} {
		expectHops(t, web, target, gateway)
	}
	rack := newRack(t, hosts[1], "rack", "9")
	rack.findsThePathMTU(web)
}

// pings awaits that all of a few pings with options are answered: the first may be
// answered by what the way takes.
func pings(t *testing.T, from, to *lab.Container, options ...string) {
	t.Helper()
	args := append([]string{"-n", "-c", "4", "-i", "0.1", "-w", "5"}, options...)
	lab.Await(t, fmt.Sprintf("%s pings %s with %v", from, to, options), func() error {
		result := from.Runs("ping", append(args, to.IP.String())...)
		if result.Code != 0 || !strings.Contains(result.Stdout, " 0% packet loss") {
			return fmt.Errorf("exit %d:\n%s%s", result.Code, result.Stdout, result.Stderr)
		}
		return nil
	})
}

// expectHops expects that the gateway is all that there is on the way.
func expectHops(t *testing.T, from, to *lab.Container, gateway string) {
	t.Helper()
	lab.Await(t, fmt.Sprintf("%s sees %s before %s", from, gateway, to), func() error {
		first := from.Runs("ping", "-n", "-c", "1", "-W", "2", "-t", "1", to.IP.String())
		if !containsAll(first.Stdout, "From "+gateway, "ime to live exceeded") && !containsAll(first.Stdout, "From "+gateway, "Hop limit") {
			return fmt.Errorf("with one hop: %s%s", first.Stdout, first.Stderr)
		}
		if second := from.Runs("ping", "-n", "-c", "1", "-W", "2", "-t", "2", to.IP.String()); second.Code != 0 {
			return fmt.Errorf("with two hops: %s%s", second.Stdout, second.Stderr)
		}
		return nil
	})
}

// rack is a server behind a network device of its host, which it configures itself.
type rack struct {
	*lab.Container
	t *testing.T
}

// newRack connects a server with an MTU of 1500 and attaches it.
func newRack(t *testing.T, host *lab.Host, name, end string) rack {
	t.Helper()
	r := rack{host.Container(name).Serves("tcp/7"), t}
	insider := host.Insider("hands")
	device := name + "0"
	must(t, insider, "ip", "link", "add", device, "mtu", "1500", "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(r.PID()))
	t.Cleanup(func() { insider.Runs("ip", "link", "delete", device) })
	must(t, r.Container, "ip", "address", "add", "10.0.0."+end+"/24", "dev", "eth0")
	must(t, r.Container, "ip", "address", "add", "fd00:1::"+end+"/64", "dev", "eth0", "nodad")
	must(t, r.Container, "ip", "link", "set", "eth0", "mtu", "1500", "up")
	must(t, r.Container, "ip", "route", "add", "default", "via", "10.0.0.1")
	must(t, r.Container, "ip", "route", "add", "default", "via", "fd00:1::1")
	host.MustCtl("endpoint", "attach", name, "--vpc", "blue", "--ip", "10.0.0."+end+",fd00:1::"+end, "--group", "all", "--device", device)
	r.VPC, r.IP, r.IP6 = "blue", addr("10.0.0."+end), addr("fd00:1::"+end)
	return r
}

// findsThePathMTU expects that the server is told what the way takes, and that a
// connection never sends more.
func (r rack) findsThePathMTU(to *lab.Container) {
	r.t.Helper()
	eth0, _ := to.Interface("eth0")
	for _, ip := range []*lab.Container{to, to.On6()} {
		r.Reaches(ip, "icmp", "tcp/7")
		lab.Await(r.t, fmt.Sprintf("%s is told that 1500 bytes are too many for %s", r, ip), func() error {
			size := "1472"
			if ip.IP.Is6() {
				size = "1452"
			}
			said := r.Runs("ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", size, ip.IP.String())
			if all := strings.ToLower(said.Stdout + said.Stderr); !strings.Contains(all, "mtu") {
				return fmt.Errorf("exit %d: %s", said.Code, all)
			}
			return nil
		})
		capture := to.Captures("eth0")
		r.Sends(ip, "tcp/7", 300_000, 1)
		r.expectMSS(capture, ip, eth0.MTU)
	}
}

// expectMSS expects a SYN of the server's that offers no more than the interface
// that it goes to could send.
func (r rack) expectMSS(capture *lab.Capture, to *lab.Container, mtu int) {
	r.t.Helper()
	headers, source := 40, r.IP
	if to.IP.Is6() {
		headers, source = 60, r.IP6
	}
	offered := 0
	for _, f := range capture.Stop() {
		if f.Protocol != frame.ProtoTCP || f.Src != source || len(f.Payload) < 24 || f.Payload[13] != frame.FlagSYN {
			continue
		}
		// Linux puts the MSS first among its options (kind 2, length 4).
		if f.Payload[20] == 2 && f.Payload[21] == 4 {
			offered = int(f.Payload[22])<<8 | int(f.Payload[23])
		}
	}
	// What it would offer by itself is its own MTU less the headers.
	if offered == 0 || offered > 1420-headers || offered < mtu-headers {
		r.t.Errorf("%s offers %s an MSS of %d; the interface there has an MTU of %d", r, to, offered, mtu)
	}
}

// must runs a program that must end well.
func must(t *testing.T, in *lab.Container, name string, args ...string) {
	t.Helper()
	if result := in.Runs(name, args...); result.Code != 0 {
		t.Fatalf("%s: %s %s: exit %d: %s%s", in, name, strings.Join(args, " "), result.Code, result.Stdout, result.Stderr)
	}
}
