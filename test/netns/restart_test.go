package netns

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"edgenet.dev/edgenet/test/netns/lab"
)

// running is traffic between two hosts that must not notice anything.
type running struct {
	pings []*lab.Ping
	flow  *lab.Flow
}

func run(web, db *lab.Container) running {
	return running{
		pings: []*lab.Ping{web.Pings(db.IP), db.Pings(web.IP)},
		flow:  web.Streams(db, "tcp/7"),
	}
}

// noticedNothing ends the traffic: no ping may be lost, the flow must run. what
// happened to it is for the log.
func (r running) noticedNothing(t *testing.T, what string) {
	t.Helper()
	r.noticedOnly(t, what)
}

// isMoved is noticedNothing of a change of drivers, with a row in the table.
func (r running) isMoved(t *testing.T, how, from, to string) {
	t.Helper()
	measured := r.noticedOnly(t, from+" to "+to)
	lab.Note(t, lab.Figure{
		Promise: "a pair's driver is changed by " + how + ", from " + from, Driver: to, Measured: measured, Bound: bound(0),
	})
}

// noticedOnly is the same where what is sent in some times is lost. It says what was.
func (r running) noticedOnly(t *testing.T, what string, times ...time.Duration) string {
	t.Helper()
	r.flow.Runs()
	var words []string
	for _, ping := range r.pings {
		report := ping.LosesOnlyIn(times...)
		t.Logf("%s: %d of %d pings lost", what, len(report.Lost), report.Sent)
		words = append(words, fmt.Sprintf("%d of %d", len(report.Lost), report.Sent))
	}
	status := r.flow.Stop()
	if status.Ended != "" {
		t.Errorf("the flow ended: %s", status.Ended)
	}
	return fmt.Sprintf("%s pings back lost; the connection stood still for %s",
		strings.Join(words, " pings and "), status.Longest.Round(10*time.Millisecond))
}

// Each daemon in turn is killed and started again: no packet of running traffic
// is lost, the tunnels' processes live on, and all is as it was.
//
//	edge-1: blue-web ══ 10 ms pings, a connection ══ edge-2: blue-db       cloud-1
func TestAKilledDaemonLosesNoPacket(t *testing.T) {
	t.Parallel()
	l := lab.NewTimed(t)
	hosts, blue, red := twoTenants(l)
	blue.web.Reaches(blue.db, "icmp")
	blue.db.Reaches(blue.web, "icmp")
	for _, host := range hosts {
		before, tunnels := state(t, host), host.TunnelPIDs()
		traffic := run(blue.web, blue.db)
		traffic.flow.Runs()

		host.Kill()
		traffic.flow.Runs()
		host.Start()
		l.AwaitMesh(hosts...)

		traffic.noticedNothing(t, host.Name+": edgenetd killed")
		if now := host.TunnelPIDs(); !slices.Equal(tunnels, now) {
			t.Errorf("%s: the tunnels' processes were %v and are %v", host.Name, tunnels, now)
		}
		l.Await(host.Name+" is as it was", func() error {
			if now := state(t, host); now != before {
				return fmt.Errorf("it was\n%s\nand is\n%s", before, now)
			}
			return nil
		})
	}
	red.web.Reaches(red.db, "icmp", "http/80")
	red.web.NeverReaches(blue.spare.IP, "icmp")
}

// state is what the host tells of VPCs, groups and endpoints; of its own
// endpoints it knows more than others do.
func state(t *testing.T, host *lab.Host) string {
	t.Helper()
	var endpoints []struct{ Name, VPC, IP, MAC, Node, Device, State string }
	host.CtlJSON(&endpoints, "endpoint", "list")
	return host.MustCtl("vpc", "list", "-o", "json") +
		host.MustCtl("group", "list", "-o", "json") + fmt.Sprintf("%+v", endpoints)
}

// An orderly restart is as harmless as a crash, also twice in a row.
func TestARestartLosesNoPacket(t *testing.T) {
	t.Parallel()
	l := lab.NewTimed(t)
	hosts, blue, _ := twoTenants(l)
	blue.web.Reaches(blue.db, "icmp")
	blue.db.Reaches(blue.web, "icmp")
	traffic := run(blue.web, blue.db)
	traffic.flow.Runs()
	hosts[1].Restart()
	hosts[1].Restart()
	hosts[2].Restart()
	l.AwaitMesh(hosts...)
	traffic.noticedNothing(t, "edgenetd restarted")
}

// All daemons die at once and come back at once: no packet is lost, the mesh
// forms again, and everything that was made is still there.
func TestAllDaemonsRestartAtOnce(t *testing.T) {
	t.Parallel()
	l := lab.NewTimed(t)
	hosts, blue, red := twoTenants(l)
	blue.web.Reaches(blue.db, "icmp")
	blue.db.Reaches(blue.web, "icmp")
	before := make(map[*lab.Host]string)
	for _, host := range hosts {
		before[host] = state(t, host)
	}
	traffic := run(blue.web, blue.db)
	traffic.flow.Runs()
	for _, host := range hosts {
		host.Kill()
	}
	traffic.flow.Runs()
	for _, host := range hosts {
		host.Start()
	}
	l.AwaitMesh(hosts...)
	traffic.noticedNothing(t, "edgenetd killed on every host")
	for _, host := range hosts {
		l.Await(host.Name+" knows what was made", func() error {
			if now := state(t, host); now != before[host] {
				return fmt.Errorf("it was\n%s\nand is\n%s", before[host], now)
			}
			return nil
		})
	}
	// And what comes after works as before.
	hosts[2].Group("blue", "later", open)
	late := hosts[2].Container("blue-late").Serves("http/80")
	late.Attach("blue", "10.0.0.5", "later")
	blue.web.Reaches(late, "icmp", "http/80")
	red.web.NeverReaches(late.IP, "icmp", "http/80")
}

// A dead daemon leaves its rules in force.
//
//	edge-1: web (allowed), dev (not)     edge-2: db, daemon dead
func TestRulesSurviveADaemonCrash(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("edge-1", "edge-2")
	hosts[0].VPC("blue", "10.0.0.0/24")
	hosts[0].Group("blue", "web")
	hosts[0].Group("blue", "db", "ingress tcp 5432 from group:web")
	web, dev := hosts[0].Container("web"), hosts[0].Container("dev")
	db := hosts[1].Container("db").Serves("tcp/5432")
	web.Attach("blue", "10.0.0.2", "web")
	dev.Attach("blue", "10.0.0.3")
	db.Attach("blue", "10.0.0.4", "db")
	web.Reaches(db, "tcp/5432")

	hosts[1].Kill()
	web.Reaches(db, "tcp/5432")
	dev.Blocked(db, "tcp/5432")

	// What changed meanwhile is in force after the start.
	hosts[0].AddRule("blue", "db", "ingress tcp 5432 from 10.0.0.3/32")
	hosts[0].RemoveRule("blue", "db", "ingress tcp 5432 from group:web")
	dev.Blocked(db, "tcp/5432")
	hosts[1].Start()
	dev.Reaches(db, "tcp/5432")
	web.Blocked(db, "tcp/5432")
}

// The process of the tunnels dies: the daemon brings the tunnels back by itself.
func TestADeadTunnelProcessIsReplaced(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts, blue, red := twoTenants(l)
	blue.web.Reaches(blue.db, "icmp")
	tunnels := hosts[1].TunnelPIDs()
	if len(tunnels) == 0 {
		t.Skip("this host's kernel has WireGuard: there is no process to die")
	}
	hosts[1].KillTunnels()
	l.Await("edge-1 has a new tunnel process", func() error {
		if now := hosts[1].TunnelPIDs(); len(now) == 0 || slices.Equal(now, tunnels) {
			return fmt.Errorf("processes %v, before %v", now, tunnels)
		}
		return nil
	})
	blue.web.Reaches(blue.db, "icmp", "http/80")
	red.db.Reaches(red.web, "icmp", "http/80")
}
