package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/agent"
)

// story shows what happens and checks it at the same time.
type story struct {
	out        io.Writer
	t          lab.TB
	hosts      []*lab.Host
	containers []*lab.Container
}

func (s *story) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.out, format+"\n", args...)
}

func (s *story) chapter(title string) {
	s.say("")
	s.say("== %s", title)
}

// seen says what was observed; it is only reached when it was.
func (s *story) seen(format string, args ...any) { s.say("   ok  "+format, args...) }

// ctl runs edgenetctl on a host and shows both the command and its answer.
func (s *story) ctl(h *lab.Host, args ...string) {
	s.say("")
	s.say("%s# edgenetctl %s", h.Name, strings.Join(args, " "))
	answer := h.MustCtl(args...)
	for _, line := range strings.Split(strings.TrimRight(answer, "\n"), "\n") {
		s.say("   %s", line)
	}
}

// tell tells all of it.
func (s *story) tell(t lab.TB) {
	s.t = t
	l := lab.New(t)
	s.mesh(l)
	s.tenants(l)
	s.talk()
	s.apart()
	s.rules()
	s.chapter("what was counted")
	s.ctl(s.hosts[1], "endpoint", "show", "blue-web", "--vpc", "blue")
}

func (s *story) mesh(l *lab.Lab) {
	s.chapter("four hosts, each a network namespace with its own edgenetd; one mesh")
	s.hosts = l.Mesh("cloud-1", "edge-1", "edge-2", "edge-3")
	for _, h := range s.hosts {
		s.seen("%s at %s sees all four alive, with a tunnel up wherever one is needed", h.Name, h.Underlay)
	}
	s.await("edge-2 has measured its tunnel to the cloud, and needs none to other edges", func() error {
		return s.measured(2, "cloud-1")
	}, l)
	s.ctl(s.hosts[2], "node", "list")
	s.ctl(s.hosts[2], "node", "show", "cloud-1")
}

// measured returns an error unless a host's tunnels to these nodes, and to no
// others, are up and measured.
func (s *story) measured(host int, to ...string) error {
	nodes, err := s.hosts[host].Nodes()
	if err != nil {
		return err
	}
	for _, n := range nodes {
		t := n.GetTunnel()
		switch {
		case n.GetLocal():
		case !slices.Contains(to, n.GetName()):
			if t.GetState() != "not needed" {
				return fmt.Errorf("tunnel to %s: is %s", n.GetName(), t.GetState())
			}
		case t.GetRttMs() <= 0 || t.GetLastHandshake() == nil:
			return fmt.Errorf("tunnel to %s: no handshake or round-trip time yet", n.GetName())
		}
	}
	return nil
}

func (s *story) await(what string, check func() error, l *lab.Lab) {
	l.Await(what, check)
	s.seen("%s", what)
}

// The tenants' containers: the same names, addresses and services in both, and
// on edge-2 both tenants' app with the same address on one host.
var placement = []struct {
	vpc, name, ip string
	host          int
}{
	{"blue", "web", "10.0.0.10", 1},
	{"blue", "app", "10.0.0.20", 2},
	{"blue", "db", "10.0.0.30", 0},
	{"green", "web", "10.0.0.10", 3},
	{"green", "app", "10.0.0.20", 2},
	{"green", "db", "10.0.0.30", 1},
}

func (s *story) tenants(l *lab.Lab) {
	s.chapter("two tenants with the same prefix and the same addresses")
	for i, vpc := range []string{"blue", "green"} {
		// One is made at the authority, the other by way of an edge node.
		h := s.hosts[i]
		h.VPC(vpc, "10.0.0.0/24")
		h.Group(vpc, "app", "ingress icmp - from any", "ingress tcp 80 from group:app")
	}
	for _, p := range placement {
		c := s.hosts[p.host].Container(p.vpc + "-" + p.name)
		c.Serves("http/80", "http/8080")
		c.Attach(p.vpc, p.ip, "app")
		s.containers = append(s.containers, c)
	}
	s.await("edge-3 knows all six endpoints", func() error {
		endpoints, err := s.hosts[3].Endpoints()
		if err == nil && len(endpoints) != len(placement) {
			err = fmt.Errorf("it knows %d", len(endpoints))
		}
		return err
	}, l)
	s.await("edge-2 has measured the tunnels to the nodes that it shares a VPC with: all three", func() error {
		return s.measured(2, "cloud-1", "edge-1", "edge-3")
	}, l)
	s.ctl(s.hosts[2], "tunnel", "list")
	s.ctl(s.hosts[3], "vpc", "list")
	s.ctl(s.hosts[3], "endpoint", "list")
	s.ctl(s.hosts[3], "group", "show", "app", "--vpc", "green")
}

func (s *story) container(vpc, name string) *lab.Container {
	for i, p := range placement {
		if p.vpc == vpc && p.name == name {
			return s.containers[i]
		}
	}
	s.t.Fatalf("no container %s of %s", name, vpc)
	return nil
}

func (s *story) talk() {
	s.chapter("within each tenant, across hosts: ping and HTTP")
	for _, vpc := range []string{"blue", "green"} {
		for _, pair := range [][2]string{{"app", "web"}, {"web", "db"}, {"db", "app"}} {
			from, to := s.container(vpc, pair[0]), s.container(vpc, pair[1])
			from.Reaches(to, "icmp", "http/80")
			ping := from.Try(to.IP, "icmp")
			get := from.Try(to.IP, "http/80")
			if ping.Outcome != agent.Answered || get.Outcome != agent.Answered {
				s.t.Fatalf("%s to %s: ping %s, HTTP %s", from, to, ping.Outcome, get.Outcome)
			}
			s.seen("%s on %s: ping %s in %.2f ms; GET http://%s/ says %q", from.Name, from.Host().Name, to.IP,
				float64(ping.Took.Microseconds())/1000, to.IP, get.Answer)
		}
	}
}

// requests is how often a tenant asks where the other tenant is too.
const requests = 50

func (s *story) apart() {
	s.chapter("the other tenant at the same address never answers")
	for _, pair := range [][2]string{{"blue", "green"}, {"green", "blue"}} {
		from, own, other := s.container(pair[0], "app"), s.container(pair[0], "web"), s.container(pair[1], "web")
		capture := other.Captures("eth0")
		answers := map[string]int{}
		for range requests {
			reply := from.Try(own.IP, "http/80")
			answers[reply.Answer]++
			if reply.Outcome != agent.Answered {
				s.t.Errorf("%s to %s: %s: %s", from, own, reply.Outcome, reply.Reason)
			}
		}
		frames := capture.Stop()
		if len(answers) != 1 || answers[own.Host().Name+"/"+own.Name] != requests {
			s.t.Fatalf("%s asked %s %d times and was answered by %v", from, own.IP, requests, answers)
		}
		leaked := 0
		for _, f := range frames {
			if f.Src == from.IP || f.Dst == from.IP {
				leaked++
			}
		}
		if leaked > 0 {
			s.t.Fatalf("%d packets of %s reached %s", leaked, from, other)
		}
		s.seen("%s asked %s %d times: %s answered %d times, %s saw %d packets", from.Name, own.IP, requests, own.Name, answers[own.Host().Name+"/"+own.Name], other.Name, leaked)
	}
}

func (s *story) rules() {
	s.chapter("a security group blocks an HTTP request, then permits it, then blocks it again")
	from, to := s.container("blue", "app"), s.container("blue", "web")
	rule := "ingress tcp 8080 from group:app"
	command := "group rule %s app --vpc blue --direction ingress --proto tcp --ports 8080 --from group:app"
	from.Blocked(to, "http/8080")
	s.seen("%s gets no answer from http://%s:8080/: no rule permits it", from.Name, to.IP)
	s.say("   edge-3# edgenetctl "+command, "add")
	s.hosts[3].AddRule("blue", "app", rule)
	from.Reaches(to, "http/8080")
	s.seen("%s gets %q", from.Name, from.Try(to.IP, "http/8080").Answer)
	s.say("   cloud-1# edgenetctl "+command, "remove")
	s.hosts[0].RemoveRule("blue", "app", rule)
	from.Blocked(to, "http/8080")
	s.seen("%s gets no answer again, and http://%s/ still says %q", from.Name, to.IP, from.Try(to.IP, "http/80").Answer)
}
