package netns

import (
	"fmt"
	"testing"
	"time"

	"edgenet.dev/edgenet/test/netns/lab"
)

// aMebibyte is what has to arrive over every path.
const aMebibyte = 1 << 20

// path is an underlay: the MTU of the hosts' links, and what is swallowed above
// somewhere between them.
type path struct{ link, width int }

// inside is how large a packet in the tunnel may be: what is left of the path,
// down to a multiple of 16, or all that the device takes.
func (p path) inside(over6 bool) int {
	overhead := 60
	if over6 {
		overhead = 80
	}
	device := max(p.link-overhead, 1280)
	if most := min(p.width, p.link) - overhead; most < device {
		return most / 16 * 16
	}
	return device
}

// Paths of all widths, none of which says a word when it swallows a packet: a
// mebibyte arrives by each, both ways, in both of the tenants' families, from the
// moment on at which the path changes; then the MTU is as it should be, and what
// needs fragments passes, too.
//
//	edge-1: web ══ ? bytes ══ edge-2: db
func TestPathsOfAllWidths(t *testing.T) {
	for _, over6 := range []bool{false, true} {
		name := "over IPv4"
		if over6 {
			name = "over IPv6"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := lab.New(t)
			if over6 {
				l.UseIPv6()
			}
			hosts, web, db := aTenant(l)
			for _, p := range []path{
				{1500, 1500}, {1500, 1492}, {1500, 1400}, {1500, 1280}, // ever narrower
				{9000, 9000}, {9000, 1500}, {1492, 1492}, {1400, 1400}, {1280, 1280}, // other links
			} {
				for _, host := range hosts {
					host.SetMTU(p.link)
				}
				hosts[1].Swallows(p.width)
				begun := time.Now()
				for _, to := range []*lab.Container{db.On6(), db} {
					web.Sends(to, "tcp/7", aMebibyte, 1) // there and back
				}
				took := time.Since(begun)
				want := p.inside(over6)
				for i, host := range hosts {
					awaitPathMTU(l, host, hosts[1-i], want)
				}
				t.Logf("links of %d, %d between them: %d of %d bytes there and back in both families after %s; path MTU %d after %s",
					p.link, p.width, aMebibyte, aMebibyte, took.Round(time.Millisecond), want, time.Since(begun).Round(time.Millisecond))
				for _, to := range []*lab.Container{db.On6(), db} {
					pings(t, web, to, "-s", "4000") // in fragments
					pings(t, web, to, "-s", "1232") // with its headers what IPv6 counts on
				}
			}
		})
	}
}

// aTenant makes two hosts with a container each, in one VPC of both families.
func aTenant(l *lab.Lab) (hosts []*lab.Host, web, db *lab.Container) {
	hosts = l.Mesh("edge-1", "edge-2")
	web, db = inOneVPC(hosts)
	return hosts, web, db
}

func inOneVPC(hosts []*lab.Host) (web, db *lab.Container) {
	hosts[0].VPC("blue", "10.0.0.0/24", "fd00:1::/64")
	hosts[0].Group("blue", "all", open)
	attach := func(host *lab.Host, name, end string) *lab.Container {
		c := host.Container(name).Serves("tcp/7")
		c.Attach("blue", "10.0.0."+end+",fd00:1::"+end, "all")
		return c
	}
	web, db = attach(hosts[0], "web", "2"), attach(hosts[1], "db", "3")
	for _, to := range []*lab.Container{db, db.On6()} {
		web.Reaches(to, "icmp", "tcp/7")
	}
	return web, db
}

// awaitPathMTU awaits that a host has found out how large packets to another may
// be.
func awaitPathMTU(l *lab.Lab, host, to *lab.Host, want int) {
	l.Await(fmt.Sprintf("%s knows that packets of %d bytes get to %s", host, want, to), func() error {
		node, err := host.Node(to.Name)
		if err != nil {
			return err
		}
		if tunnel := node.GetTunnel(); tunnel.GetPathMtu() != uint32(want) || tunnel.GetPathMtuBasis() != "confirmed" {
			return fmt.Errorf("it is %d, %s, of %d", tunnel.GetPathMtu(), tunnel.GetPathMtuBasis(), tunnel.GetMtu())
		}
		return nil
	})
}

// A path shrinks under running connections, which go on within seconds.
//
//	edge-1: web ══ 8 KiB every 10 ms ══ 1500, then 1280 ══ edge-2: db
func TestAPathShrinksInUse(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts, web, db := aTenant(l)
	awaitPathMTU(l, hosts[0], hosts[1], path{1500, 1500}.inside(false))
	for _, to := range []*lab.Container{db, db.On6()} {
		for _, width := range []int{1400, 1280} {
			// What it has learned of narrower paths would make it go on at once.
			for _, c := range []*lab.Container{web, db} {
				must(t, c, "ip", "route", "flush", "cache")
				must(t, c, "ip", "-6", "route", "flush", "cache")
			}
			shrinkInUse(t, l, web, to, width)
		}
		// Another MTU of the link has more tried at once.
		for _, mtu := range []int{1496, 1500} {
			hosts[1].Swallows(1500)
			for _, host := range hosts {
				host.SetMTU(mtu)
			}
			for i, host := range hosts {
				awaitPathMTU(l, host, hosts[1-i], path{mtu, 1500}.inside(false))
			}
		}
	}
}

// shrinkInUse shrinks the path to so many bytes under a running connection.
func shrinkInUse(t *testing.T, l *lab.Lab, web, to *lab.Container, width int) {
	t.Helper()
	flow := web.StreamsBy(to, "tcp/7", 8<<10)
	flow.Runs()
	to.Host().Swallows(width)
	begun, noticed := time.Now(), time.Duration(0)
	l.Await("the path is noticed to be narrow", func() error {
		node, err := web.Host().Node(to.Host().Name)
		if err == nil && int(node.GetTunnel().GetPathMtu()) > width {
			err = fmt.Errorf("it is %d", node.GetTunnel().GetPathMtu())
		}
		noticed = time.Since(begun)
		return err
	})
	flow.Runs()
	status := flow.Stop()
	awaitPathMTU(l, web.Host(), to.Host(), path{1500, width}.inside(false))
	awaitPathMTU(l, to.Host(), web.Host(), path{1500, width}.inside(false))
	t.Logf("down to %d: noticed after %s, the connection to %s stood still for %s",
		width, noticed.Round(time.Millisecond), to.IP, status.Longest.Round(time.Millisecond))
	if status.Ended != "" || status.Longest > 6*time.Second {
		t.Errorf("the connection to %s stood still for %s, %s", to.IP, status.Longest, status.Ended)
	}
}

// All of a mesh's own traffic fits a narrow path, so that hosts join and find one
// another over it, and tenants' first packets fit it, too.
//
//	edge-1: web ══ 1280 from the start ══ edge-2: db
func TestAMeshIsMadeOverANarrowPath(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	var hosts []*lab.Host
	for _, name := range []string{"edge-1", "edge-2"} {
		h := l.Host(name)
		h.Swallows(1280)
		h.Start()
		hosts = append(hosts, h)
	}
	begun := time.Now()
	hosts[0].Init()
	hosts[1].Join(hosts[0].Token("--uses", "1"))
	l.AwaitMesh(hosts...)
	t.Logf("joined after %s", time.Since(begun).Round(time.Millisecond))
	web, db := inOneVPC(hosts)
	for _, to := range []*lab.Container{db, db.On6()} {
		begun = time.Now()
		web.Sends(to, "tcp/7", aMebibyte, 1)
		t.Logf("%d of %d bytes there and back to %s after %s", aMebibyte, aMebibyte, to.IP, time.Since(begun).Round(time.Millisecond))
	}
	awaitPathMTU(l, hosts[0], hosts[1], path{1500, 1280}.inside(false))
}
