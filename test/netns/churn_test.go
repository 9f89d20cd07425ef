package netns

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/agent"
)

// Endpoints and rules come and go at random, daemons are killed in between. Then all
// that the datapaths have is taken away and made anew from the records: who reaches
// whom, and what edgenetctl tells, is the same as before. It runs for 10 s, or for
// EDGENET_CHURN, with the seed EDGENET_SEED.
//
//	edge-1, edge-2, edge-3: three containers each, of two VPCs with the same addresses
func TestManyChangesEndAsAFreshStart(t *testing.T) {
	t.Parallel()
	limit, seed := 10*time.Second, uint64(time.Now().UnixNano())
	if text := os.Getenv("EDGENET_CHURN"); text != "" {
		var err error
		if limit, err = time.ParseDuration(text); err != nil {
			t.Fatalf("EDGENET_CHURN: %v", err)
		}
	}
	if text := os.Getenv("EDGENET_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("EDGENET_SEED: %v", err)
		}
	}
	t.Logf("EDGENET_SEED=%d", seed)
	l := lab.New(t)
	c := &churn{t: t, random: rand.New(rand.NewPCG(seed, 0)), hosts: l.Mesh("edge-1", "edge-2", "edge-3")}
	c.begin()
	count := 0
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); count++ {
		c.step()
	}
	t.Logf("%d changes", count)
	c.settle()
	told, reached := c.tell(), c.matrix()

	for _, host := range c.hosts {
		host.Stop()
		if code, said := host.RunDaemon("--cleanup", "--run-dir", host.RunDir(), "--state-dir", host.StateDir()); code != 0 {
			t.Fatalf("%s: --cleanup: exit %d: %s", host, code, said)
		}
	}
	for _, host := range c.hosts {
		host.Start()
	}
	l.AwaitMesh(c.hosts...)
	c.settle()
	if fresh := c.tell(); !slices.Equal(fresh, told) {
		t.Errorf("after a fresh start edgenetctl tells\n%s\nbefore\n%s", strings.Join(fresh, "\n"), strings.Join(told, "\n"))
	}
	if fresh := c.matrix(); !slices.Equal(fresh, reached) {
		t.Errorf("after a fresh start these reach one another:\n%s\nbefore:\n%s", strings.Join(fresh, "\n"), strings.Join(reached, "\n"))
	}
}

// churn is a world that changes.
type churn struct {
	t      *testing.T
	random *rand.Rand
	hosts  []*lab.Host
	all    []*lab.Container
	rules  map[string]bool
}

// begin attaches all, in groups of which one lets the other in.
func (c *churn) begin() {
	c.rules = map[string]bool{}
	for _, vpc := range []string{"blue", "red"} {
		c.hosts[0].VPC(vpc, "10.0.0.0/24", "fd00:1::/64")
		c.hosts[0].Group(vpc, "a")
		c.hosts[0].Group(vpc, "b", "ingress tcp 7 from group:a", "ingress icmp - from any")
	}
	for i := range 9 {
		container := c.hosts[i%3].Container(fmt.Sprintf("c%d", i)).Serves("tcp/7", "tcp/80")
		c.all = append(c.all, container)
		c.attach(container, i)
	}
}

// vpcOf divides the containers.
func vpcOf(number int) string {
	if number%2 == 0 {
		return "blue"
	}
	return "red"
}

// attach attaches a container at its own address of either family, or both.
func (c *churn) attach(container *lab.Container, number int) {
	end := fmt.Sprint(number/2 + 2)
	addresses := []string{"10.0.0." + end, "10.0.0." + end + ",fd00:1::" + end}[c.random.IntN(2)]
	groups := [][]string{{"a"}, {"b"}, {"a", "b"}, nil}[c.random.IntN(4)]
	container.Attach(vpcOf(number), addresses, groups...)
}

// step makes one change.
func (c *churn) step() {
	c.t.Helper()
	host, number := c.hosts[c.random.IntN(len(c.hosts))], c.random.IntN(len(c.all))
	container := c.all[number]
	switch turn := c.random.IntN(20); {
	case turn == 0:
		host.Kill()
		host.Start()
	case turn < 8 && container.VPC != "":
		container.Detach()
		container.VPC = ""
	case turn < 8:
		c.attach(container, number)
	default:
		c.rule(host)
	}
}

// mostRules are there at a time: among many, one that denies everything would hide
// what all others say.
const mostRules = 10

// rule adds a rule, or takes away one that was added.
func (c *churn) rule(host *lab.Host) {
	c.t.Helper()
	if len(c.rules) == mostRules {
		keys := slices.Sorted(maps.Keys(c.rules))
		key := keys[c.random.IntN(len(keys))]
		words := strings.SplitN(key, " ", 3)
		host.RemoveRule(words[0], words[1], words[2])
		delete(c.rules, key)
		return
	}
	pick := func(of ...string) string { return of[c.random.IntN(len(of))] }
	vpc, group := pick("blue", "red"), pick("a", "b", "default")
	rule := fmt.Sprintf("%s from %s", pick("ingress tcp 7", "ingress tcp 80", "ingress tcp 1-100", "ingress any -"),
		pick("any", "group:a", "group:b", "10.0.0.0/29", "10.0.0.3", "fd00:1::/125"))
	if c.random.IntN(4) == 0 {
		rule = fmt.Sprintf("egress tcp %s to %s", pick("7", "80"), pick("any", "group:b", "10.0.0.0/30"))
	}
	if c.random.IntN(3) == 0 {
		rule += fmt.Sprintf(" --action deny --priority %d", 10+c.random.IntN(3)*990)
	}
	key := vpc + " " + group + " " + rule
	if c.rules[key] {
		host.RemoveRule(vpc, group, rule)
		delete(c.rules, key)
	} else {
		host.AddRule(vpc, group, rule)
		c.rules[key] = true
	}
}

// settle attaches who is not, and awaits that all hosts tell the same.
func (c *churn) settle() {
	c.t.Helper()
	for number, container := range c.all {
		if container.VPC == "" {
			c.attach(container, number)
		}
	}
	lab.Await(c.t, "all hosts tell the same", func() error {
		first := c.tellOf(c.hosts[0])
		for _, host := range c.hosts[1:] {
			if other := c.tellOf(host); other != first {
				return fmt.Errorf("%s tells\n%s\nand %s\n%s", c.hosts[0], first, host, other)
			}
		}
		if strings.Count(first, `"ready"`) != len(c.all) {
			return fmt.Errorf("not all are ready: %s", first)
		}
		return nil
	})
}

// tell is what edgenetctl says on each host.
func (c *churn) tell() (said []string) {
	for _, host := range c.hosts {
		said = append(said, c.tellOf(host))
	}
	return said
}

// tellOf leaves out what is no state of the mesh: counters, and times.
func (c *churn) tellOf(host *lab.Host) string {
	c.t.Helper()
	type told struct {
		Name, VPC, Node, State, Message string
		IPs, Groups                     []string
	}
	var endpoints []told
	host.CtlJSON(&endpoints, "endpoint", "list")
	slices.SortFunc(endpoints, func(a, b told) int { return strings.Compare(a.Name, b.Name) })
	text, err := json.Marshal(endpoints)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, vpc := range []string{"blue", "red"} {
		text = append(text, host.MustCtl("group", "list", "--vpc", vpc, "-o", "json")...)
	}
	return string(text)
}

// matrix tries everyone to everyone of a VPC, by both families, and returns who
// reaches whom. There must be some who do and some who do not.
func (c *churn) matrix() []string {
	c.t.Helper()
	var mu sync.Mutex
	var tries sync.WaitGroup
	var reached []string
	blocked := 0
	for _, from := range c.all {
		for _, to := range c.all {
			if from == to || from.VPC != to.VPC {
				continue
			}
			tries.Go(func() {
				for _, way := range c.ways(from, to) {
					answered := c.answers(from, way.to, way.service)
					mu.Lock()
					if answered {
						reached = append(reached, fmt.Sprintf("%s -> %s %s", from, way.to, way.service))
					} else {
						blocked++
					}
					mu.Unlock()
				}
			})
		}
	}
	tries.Wait()
	slices.Sort(reached)
	c.t.Logf("%d ways are open, %d are not", len(reached), blocked)
	if len(reached) == 0 || blocked == 0 {
		c.t.Errorf("%d ways are open and %d are not: that proves nothing", len(reached), blocked)
	}
	return reached
}

// way is a service of a container at one of its addresses.
type way struct {
	to      *lab.Container
	service string
}

func (c *churn) ways(from, to *lab.Container) []way {
	ways := []way{{to, "tcp/7"}, {to, "tcp/80"}, {to, "icmp"}}
	if from.IP6.IsValid() && to.IP6.IsValid() {
		ways = append(ways, way{to.On6(), "tcp/7"})
	}
	return ways
}

// answers tries three times: a busy machine may be late.
func (c *churn) answers(from, to *lab.Container, service string) bool {
	for range 3 {
		if from.Try(to.IP, service).Outcome == agent.Answered {
			return true
		}
	}
	return false
}
