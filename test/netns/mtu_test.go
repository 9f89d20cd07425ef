package netns

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"edgenet.dev/edgenet/test/netns/lab"
)

// aMebibyte is what has to arrive over every path.
const aMebibyte = 1 << 20

// path is an underlay: the MTU of the hosts' links, and what is swallowed above
// somewhere between them.
type path struct{ link, width int }

// inside is how large a packet in the driver's tunnel may be: what is left of the
// path, down to a multiple of 16, or all that the device takes.
func (p path) inside(driver string, over6 bool) int {
	outer := 20
	if over6 {
		outer = 40
	}
	left := func(width int) int { // by WireGuard
		return width - outer - 40
	}
	largest := 65535
	if strings.HasPrefix(driver, "ipsec") { // with padding to 4 bytes, and 2 that say so
		left = func(width int) int { return (width-outer-40)/4*4 - 2 }
	}
	if driver == "ipsec-userspace" {
		largest = 1400
	}
	device := min(max(left(p.link), 1280), largest)
	if most := left(min(p.width, p.link)); most < device {
		return most / 16 * 16
	}
	return device
}

// Paths of all widths, none of which says a word when it swallows a packet: a
// mebibyte arrives by each, both ways, in both of the tenants' families, from the
// moment on at which the path changes; then the MTU is as it should be, and what
// needs fragments passes, too. With each driver that this machine can run.
//
//	edge-1: web ══ ? bytes ══ edge-2: db
func TestPathsOfAllWidths(t *testing.T) {
	t.Parallel()
	for name, over6 := range map[string]bool{"over IPv4": false, "over IPv6": true} {
		t.Run(name, func(t *testing.T) {
			withEachDriver(t, func(t *testing.T, l *lab.Lab, driver string) {
				if over6 {
					l.UseIPv6()
				}
				hosts, web, db := aTenant(l)
				for _, p := range []path{
					{1500, 1500}, {1500, 1492}, {1500, 1400}, {1500, 1280}, // ever narrower
					{9000, 9000}, {9000, 1500}, {1492, 1492}, {1400, 1400}, {1280, 1280}, // other links
				} {
					took := passes(p, web, db)
					want, begun := p.inside(driver, over6), time.Now()
					for i, host := range hosts {
						awaitPathMTU(l, host, hosts[1-i], want)
					}
					lab.Note(t, lab.Figure{
						Promise: fmt.Sprintf("%d bytes over a path of %d between links of %d, %s", aMebibyte, p.width, p.link, name),
						Driver:  driver,
						Measured: fmt.Sprintf("all there and back, in both families after %s; path MTU %d after %s more",
							took.Round(time.Millisecond), want, time.Since(begun).Round(time.Millisecond)),
						Bound: "0 lost",
					})
					for _, to := range []*lab.Container{db.On6(), db} {
						pings(t, web, to, "-s", "4000") // in fragments
						pings(t, web, to, "-s", "1232") // with its headers what IPv6 counts on
					}
				}
			})
		})
	}
}

// passes makes the path so, and has a mebibyte pass by it at once, there and back.
func passes(p path, web, db *lab.Container) time.Duration {
	for _, host := range []*lab.Host{web.Host(), db.Host()} {
		host.SetMTU(p.link)
	}
	db.Host().Swallows(p.width)
	begun := time.Now()
	for _, to := range []*lab.Container{db.On6(), db} {
		web.Sends(to, "tcp/7", aMebibyte, 1)
	}
	return time.Since(begun)
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
func TestAPathShrinksInUse(t *testing.T) { withEachDriver(t, shrinksInUse) }

func shrinksInUse(t *testing.T, l *lab.Lab, driver string) {
	t.Helper()
	hosts, web, db := aTenant(l)
	for i, host := range hosts {
		awaitPathMTU(l, host, hosts[1-i], path{1500, 1500}.inside(driver, false))
	}
	for _, to := range []*lab.Container{db, db.On6()} {
		for _, width := range []int{1400, 1280} {
			// What it has learned of narrower paths would make it go on at once.
			for _, c := range []*lab.Container{web, db} {
				must(t, c, "ip", "route", "flush", "cache")
				must(t, c, "ip", "-6", "route", "flush", "cache")
			}
			shrinkInUse(t, l, driver, web, to, width)
		}
		// Another MTU of the link has more tried at once.
		for _, mtu := range []int{1496, 1500} {
			hosts[1].Swallows(1500)
			for _, host := range hosts {
				host.SetMTU(mtu)
			}
			for i, host := range hosts {
				awaitPathMTU(l, host, hosts[1-i], path{mtu, 1500}.inside(driver, false))
			}
		}
	}
}

// shrinkTime is how long a connection may stand still when its path shrinks.
const shrinkTime = 6 * time.Second

// shrinkInUse shrinks the path to so many bytes under a running connection.
func shrinkInUse(t *testing.T, l *lab.Lab, driver string, web, to *lab.Container, width int) {
	t.Helper()
	flow := web.StreamsBy(to, "tcp/7", 8<<10)
	flow.Runs()
	to.Host().Swallows(width)
	begun, noticed := time.Now(), time.Duration(0)
	most := path{1500, width}.inside(driver, false)
	l.Await("the path is noticed to be narrow", func() error {
		node, err := web.Host().Node(to.Host().Name)
		if err == nil && int(node.GetTunnel().GetPathMtu()) > most {
			err = fmt.Errorf("it is %d", node.GetTunnel().GetPathMtu())
		}
		noticed = time.Since(begun)
		return err
	})
	flow.Runs()
	status := flow.Stop()
	awaitPathMTU(l, web.Host(), to.Host(), most)
	awaitPathMTU(l, to.Host(), web.Host(), most)
	lab.Note(t, lab.Figure{
		Promise: fmt.Sprintf("a path shrinks to %d under a connection to %s", width, to.IP), Driver: driver,
		Measured: fmt.Sprintf("noticed after %s, the connection stood still for %s",
			noticed.Round(time.Millisecond), status.Longest.Round(time.Millisecond)),
		Bound: shrinkTime.String(),
	})
	if status.Ended != "" || status.Longest > lab.Slow(shrinkTime) {
		t.Errorf("the connection to %s stood still for %s, %s", to.IP, status.Longest, status.Ended)
	}
}

// All of a mesh's own traffic fits a narrow path, so that hosts join and find one
// another over it, and tenants' first packets fit it, too.
//
//	edge-1: web ══ 1280 from the start ══ edge-2: db
func TestAMeshIsMadeOverANarrowPath(t *testing.T) {
	withEachDriver(t, func(t *testing.T, l *lab.Lab, driver string) {
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
			lab.Note(t, lab.Figure{
				Promise: fmt.Sprintf("a mesh is made over a path of 1280, and %d bytes pass to %s", aMebibyte, to.IP), Driver: driver,
				Measured: fmt.Sprintf("all there and back after %s", time.Since(begun).Round(time.Millisecond)), Bound: "0 lost",
			})
		}
		awaitPathMTU(l, hosts[0], hosts[1], path{1500, 1280}.inside(driver, false))
	})
}

// told matches what ping says when it is told of an MTU.
var told = regexp.MustCompile(`mtu ?[:=] ?(\d+)`)

// The first packets over a tunnel that did not exist a moment ago are as large as
// the container's MTU allows. Whoever sent them is never told of less than what the
// path takes, nor keeps to less.
//
//	edge-1: web ══ 1500 ══ edge-2: db
//	         └════ 1400 ══ edge-3: store
func TestATenantIsToldOfNoLessThanThePathTakes(t *testing.T) {
	withEachDriver(t, func(t *testing.T, l *lab.Lab, driver string) {
		hosts := l.Mesh("edge-1", "edge-2", "edge-3")
		hosts[2].Swallows(1400)
		hosts[0].VPC("blue", "10.0.0.0/24")
		hosts[0].Group("blue", "all", open)
		web := hosts[0].Container("web")
		web.Attach("blue", "10.0.0.2", "all")
		eth0, _ := web.Interface("eth0")
		for i, width := range []int{1500, 1400} {
			host := hosts[1+i]
			to := host.Container("db").Serves("tcp/7")
			to.IP = netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", 3+i))
			said := filepath.Join(t.TempDir(), "ping")
			must(t, web, "bash", "-c", fmt.Sprintf("ping -n -M do -i 0.01 -w 300 -s %d %s >%s 2>&1 & echo $! >%[3]s.pid", eth0.MTU-28, to.IP, said))
			to.Attach("blue", to.IP.String(), "all")
			want := path{1500, width}.inside(driver, false)
			web.Reaches(to, "icmp", "tcp/7")
			awaitPathMTU(l, hosts[0], host, want)
			want = min(want-20, eth0.MTU)
			route := ""
			l.Await(fmt.Sprintf("web knows that packets of %d bytes get to %s", want, to), func() error {
				route = web.Runs("ip", "route", "get", to.IP.String()).Stdout
				if width < 1500 && !strings.Contains(route, fmt.Sprintf("mtu %d", want)) {
					return fmt.Errorf("its route is %q", route)
				}
				return nil
			})
			must(t, web, "bash", "-c", fmt.Sprintf("kill $(cat %s.pid) || true", said))
			if width == 1500 && strings.Contains(route, "mtu") {
				t.Errorf("the path to %s takes all, and the route is %q", to, route)
			}
			text, err := os.ReadFile(said)
			if err != nil {
				t.Fatal(err)
			}
			counts := map[int]int{}
			for _, found := range told.FindAllStringSubmatch(string(text), -1) {
				mtu, err := strconv.Atoi(found[1])
				if counts[mtu]++; err != nil || mtu < want {
					t.Errorf("over a path of %d to %s a tenant was told of an MTU of %s, want at least %d", width, to, found[1], want)
				}
			}
			lab.Note(t, lab.Figure{
				Promise: fmt.Sprintf("a tenant's first packets of %d bytes over a new tunnel, a path of %d", eth0.MTU, width), Driver: driver,
				Measured: fmt.Sprintf("told of MTUs %v, and then keeps to %d", slices.Sorted(maps.Keys(counts)), want),
				Bound:    fmt.Sprintf("never less than %d", want),
			})
		}
	})
}
