package netns

import (
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
)

// A rule blocks, then permits, then cuts what it had let through.
//
//	edge-1: web 10.0.0.2, dev 10.0.0.3     edge-2: db 10.0.0.4 (group db)
func TestRulesTakeHoldAtOnce(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("cloud-1", "edge-1", "edge-2")
	cloud, edge1, edge2 := hosts[0], hosts[1], hosts[2]
	cloud.VPC("blue", "10.0.0.0/24")
	cloud.Group("blue", "web")
	cloud.Group("blue", "db")
	web, dev := edge1.Container("web"), edge1.Container("dev")
	db := edge2.Container("db").Serves("tcp/5432", "http/80", "udp/53")
	web.Attach("blue", "10.0.0.2", "web")
	dev.Attach("blue", "10.0.0.3")
	db.Attach("blue", "10.0.0.4", "db")

	// Nothing comes in by default.
	web.Blocked(db, "icmp", "tcp/5432", "http/80", "udp/53")

	// A group lets a group in, on one port.
	cloud.AddRule("blue", "db", "ingress tcp 5432 from group:web")
	web.Reaches(db, "tcp/5432")
	web.Blocked(db, "http/80", "icmp")
	dev.Blocked(db, "tcp/5432")

	// Another way in, by prefix and range, made on another node.
	edge1.AddRule("blue", "db", "ingress tcp 80,8000-8100 from 10.0.0.3/32")
	dev.Reaches(db, "http/80")
	web.Blocked(db, "http/80")

	// A removed rule cuts the flow that it had let through, and no other.
	flow, other := web.Streams(db, "tcp/5432"), dev.Streams(db.Serves("tcp/8000"), "tcp/8000")
	flow.Runs()
	other.Runs()
	edge2.RemoveRule("blue", "db", "ingress tcp 5432 from group:web")
	flow.Stalls()
	other.Runs()
	web.Blocked(db, "tcp/5432")

	// A rule that comes back lets new connections in.
	cloud.AddRule("blue", "db", "ingress tcp 5432 from group:web")
	web.Reaches(db, "tcp/5432")
	flow.Stop()
	other.Stop()
}

// Egress is free until a group says something about it; answers need no rule of
// their own.
//
//	edge-1: web (group out)     edge-2: db, cache (open to all)
func TestEgressRulesNarrow(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("edge-1", "edge-2")
	hosts[0].VPC("blue", "10.0.0.0/24")
	hosts[0].Group("blue", "all", open)
	hosts[0].Group("blue", "out")
	web := hosts[0].Container("web").Serves("http/80")
	db := hosts[1].Container("db").Serves("tcp/5432", "udp/53")
	cache := hosts[1].Container("cache").Serves("tcp/6379")
	web.Attach("blue", "10.0.0.2", "out", "all")
	db.Attach("blue", "10.0.0.3", "all")
	cache.Attach("blue", "10.0.0.4", "all")
	web.Reaches(db, "icmp", "tcp/5432", "udp/53")
	web.Reaches(cache, "icmp", "tcp/6379")

	hosts[0].AddRule("blue", "out", "egress tcp 5432 to 10.0.0.3/32")
	web.Blocked(cache, "icmp", "tcp/6379")
	web.Blocked(db, "icmp", "udp/53")
	web.Reaches(db, "tcp/5432")
	// It still answers who comes in.
	db.Reaches(web, "icmp", "http/80")

	hosts[1].RemoveRule("blue", "out", "egress tcp 5432 to 10.0.0.3/32")
	web.Reaches(cache, "icmp", "tcp/6379")
	web.Reaches(db, "udp/53")
}

// Within one host the rules hold as they do between hosts.
func TestRulesHoldOnOneHost(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	host := l.Mesh("edge-1")[0]
	host.VPC("blue", "10.0.0.0/24")
	host.Group("blue", "db", "ingress icmp - from any")
	web, db := host.Container("web"), host.Container("db").Serves("http/80")
	web.Attach("blue", "10.0.0.2")
	db.Attach("blue", "10.0.0.3", "db")
	web.Reaches(db, "icmp")
	web.Blocked(db, "http/80")
	host.AddRule("blue", "db", "ingress tcp 80 from 10.0.0.0/30")
	web.Reaches(db, "http/80")
	host.RemoveRule("blue", "db", "ingress icmp - from any")
	web.Blocked(db, "icmp")
	web.Reaches(db, "http/80")
}
