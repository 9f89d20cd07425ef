package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

func TestTables(t *testing.T) {
	f := mesh()
	socket := f.serve(t)
	tests := []struct {
		args string
		want string
	}{
		{"status", `
Name:       cloud-1
ID:         aa00000001
Mesh:       beef
Roles:      authority,cloud
Version:    v1
Started:    3h ago
Nodes:      2 of 3 alive
Tunnels:    1 up
Endpoints:  4 here
Problems:   none
`},
		{"node list", `
NAME     ID          ROLES            STATE  LINKS                                   TUNNEL      RTT      HANDSHAKE  RECEIVED  SENT
cloud-1  aa00000001  authority,cloud  alive  198.18.0.1                              this node   -        -          -         -
edge-1   bb00000002  edge             alive  198.18.0.2(telecom),198.18.1.2(mobile)  up          1.23 ms  12s ago    1.5 KiB   1.0 TiB
edge-2   cc00000003  edge             dead   -                                       connecting  -        never      0 B       0 B
`},
		{"node show edge-1", `
Name:         edge-1
ID:           bb000000020123456789abcdef0123456789abcd
Roles:        edge
State:        alive
Links:        198.18.0.2(telecom),198.18.1.2(mobile)
Address:      fdbe:efbb:0:2::1
Prefix:       fdbe:efbb:0:2::/64
Version:      -
Certificate:  expires in 365d
WireGuard:    key cHVibGlj, UDP port 51820
IPsec:        id @#bb00000002, UDP port 51821
Tunnel:       up
Driver:       wireguard-userspace
Device:       enaa00000001w
Peer:         198.18.0.2:51820
MTU:          1420 B
Path MTU:     1216 B, confirmed 3s ago
Cipher:       chacha20-poly1305
RTT:          1.23 ms
Loss:         3%: 3 of the last 100 probes
Handshake:    12s ago
Received:     1.5 KiB
Sent:         1.0 TiB
`},
		{"vpc list", `
NAME   VNI       CIDRS                    GATEWAYS           ENDPOINTS  CREATED
blue   1         10.0.0.0/24,10.1.0.0/24  10.0.0.1,10.1.0.1  2          1h ago
green  16777215  10.0.0.0/24              10.0.0.1           0          3d ago
`},
		{"vpc show blue", `
Name:       blue
VNI:        1
CIDRs:      10.0.0.0/24,10.1.0.0/24
Gateways:   10.0.0.1,10.1.0.1
Endpoints:  2
Created:    1h ago
`},
		{"group list", `
NAME  VPC   INGRESS  EGRESS  CREATED
db    blue  0        0       1m ago
web   blue  3        1       1m ago
`},
		{"group show db --vpc blue", `
Name:     db
VPC:      blue
Created:  1m ago
Ingress:  nothing
Egress:   everything
`},
		{"group show web --vpc blue", `
Name:     web
VPC:      blue
Created:  1m ago
Ingress:  only what rules allow
Egress:   only what rules allow

RULE          DIRECTION  PRIORITY  ACTION            PROTOCOL  PORTS          PEER                                       DESCRIPTION
000000000004  ingress    0         allow (disabled)  icmp      type 8         any                                        -
000000000003  ingress    1000      deny              any       all            10.0.0.0/8 except 10.1.0.0/16,10.2.0.0/16  the ? lab
000000000001  ingress    1000      allow             tcp       80,8000-8100   any                                        -
000000000002  egress     1000      allow             icmp      type 3 code 4  group:db                                   -
`},
		{"endpoint list", `
NAME   VPC   IP                  GROUPS  NODE     KIND   DEVICE  ATTACHED  STATE
web-1  blue  10.0.0.7,fd00:1::7  db,web  cloud-1  netns  env0    5s ago    ready
web-2  blue  10.0.0.8            -       edge-1   tap    tap0    -         failed: no such?device ?[31m
`},
		{"endpoint show web-1 --vpc blue", `
Name:       web-1
VPC:        blue
IP:         10.0.0.7,fd00:1::7
Prefixes:   10.0.0.100/32
Announced:  10.0.0.100
MAC:        02:00:00:00:00:07
Groups:     db,web
Node:       cloud-1 (aa00000001)
Kind:       netns
Namespace:  /run/netns/web-1
Interface:  eth0
Device:     env0
State:      ready
Attached:   5s ago
Epoch:      2
Received:   3 packets, 300 B
Sent:       9007199254740992 packets, 8.0 EiB
New flows:  12
Dropped:    9 spoofed-mac, 7 fragment, 7 no-ingress-rule
`},
	}
	tests = append(tests, []struct{ args, want string }{
		{"endpoint stats", `
NAME   VPC   RX PACKETS  RX BYTES  TX PACKETS        TX BYTES  FLOWS  DROPPED
web-1  blue  3           300 B     9007199254740992  8.0 EiB   12     9 spoofed-mac, 7 fragment, 7 no-ingress-rule
`},
		{"endpoint stats web-1 --vpc blue", `
Name:             web-1
VPC:              blue
Received:         3 packets, 300 B
Sent:             9007199254740992 packets, 8.0 EiB
New flows:        12
Dropped:          9 spoofed-mac, 7 fragment, 7 no-ingress-rule
Candidate rules:  would allow 1, would drop 2
`},
	}...)
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			got := tool(t.Context(), socket, "", strings.Fields(tt.args)...)
			if got.stdout != tt.want[1:] || got.stderr != "" || got.code != exitOK {
				t.Errorf("got %d, stderr %q, stdout\n%s\nwant\n%s", got.code, got.stderr, got.stdout, tt.want[1:])
			}
		})
	}
}

func TestANodeIsFoundByWhatListsShowOfItsID(t *testing.T) {
	f := mesh()
	f.nodes[2].Name = "0123456789" // a name that looks like an id
	socket := f.serve(t)
	for asked, want := range map[string]string{"bb00000002": "edge-1", edge1: "edge-1", "0123456789": "0123456789"} {
		if got := tool(t.Context(), socket, "", "node", "show", asked); !strings.HasPrefix(got.stdout, "Name:         "+want+"\n") &&
			!strings.HasPrefix(got.stdout, "Name:       "+want+"\n") {
			t.Errorf("node show %s: %+v", asked, got)
		}
	}
	if got := tool(t.Context(), socket, "", "node", "show", "bb00000003"); got.code != exitError {
		t.Errorf("an unknown id: %+v", got)
	}
}

func TestStatusOutsideOfAMeshAndWithProblems(t *testing.T) {
	f := &fake{status: &edgenetv1.GetStatusResponse{Name: "edge-1", Problems: []string{"disk is full", "clock is off"}}}
	got := tool(t.Context(), f.serve(t), "", "status")
	for _, want := range []string{"Mesh:       none: make one with init, or join one\n", "Problem:    disk is full\nProblem:    clock is off\n"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("stdout lacks %q:\n%s", want, got.stdout)
		}
	}
}

func TestAnEmptyListSaysSoToPeopleAndIsEmptyForPrograms(t *testing.T) {
	socket := (&fake{}).serve(t)
	for args, want := range map[string]string{
		"node list": "no nodes\n", "vpc list": "no VPCs\n", "group list": "no groups\n", "endpoint list": "no endpoints\n",
	} {
		words := strings.Fields(args)
		if got := tool(t.Context(), socket, "", words...); got != (result{stdout: want}) {
			t.Errorf("%s: %+v", args, got)
		}
		for _, form := range []string{"json", "yaml"} {
			if got := tool(t.Context(), socket, "", append(words, "-o", form)...); got != (result{stdout: "[]\n"}) {
				t.Errorf("%s -o %s: %+v", args, form, got)
			}
		}
	}
}

// What is asked of edgenetd, and what people are told.
func TestVerbs(t *testing.T) {
	const rule = "--direction ingress --proto tcp --ports 8000-8100,80 --from group:web"
	tests := []struct {
		args, request, want string
	}{
		{"init", `Init {}`, "mesh beef made; node cloud-1 (aa00000001) is its authority, address fdbe:efaa:0:1::1\n"},
		{"node evict edge-1", `EvictNode {"name":"edge-1"}`, "node edge-1 (bb000000020123456789abcdef0123456789abcd) is evicted; the gossip key is replaced\n"},
		{"node evict gone", `EvictNode {"name":"gone"}`, "node edge-1 (bb000000020123456789abcdef0123456789abcd) was evicted already\n"},
		{"gossip-key rotate", `RotateGossipKey {}`, "the gossip key is replaced; it is number 3 after the first\n"},
		{"token create", `CreateToken {"ttlSeconds":"3600","uses":1,"roles":["edge"]}`, "edgenet1.c2VjcmV0\n"},
		{
			"token create --ttl 15m --uses 20 --role edge --role relay,gateway",
			`CreateToken {"ttlSeconds":"900","uses":20,"roles":["edge","relay","gateway"]}`, "edgenet1.c2VjcmV0\n",
		},
		{"join abc", `Join {"token":"abc"}`, "node edge-1 (bb000000020123456789abcdef0123456789abcd) joined mesh beef as edge, address fdbe:efbb:0:2::1\n"},
		{"join -", `Join {"token":"from-stdin"}`, "node edge-1 (bb000000020123456789abcdef0123456789abcd) joined mesh beef as edge, address fdbe:efbb:0:2::1\n"},
		{"leave", `Leave {}`, "left the mesh\n"},
		{
			"vpc create blue --cidr 10.0.0.0/24 --cidr 10.1.0.0/24,10.2.0.0/24",
			`CreateVPC {"name":"blue","cidrs":["10.0.0.0/24","10.1.0.0/24","10.2.0.0/24"]}`,
			"VPC blue created: VNI 4711, CIDRs 10.0.0.0/24,10.1.0.0/24,10.2.0.0/24, gateways 10.0.0.1\n",
		},
		{"vpc delete blue", `DeleteVPC {"name":"blue"}`, "VPC blue deleted\n"},
		{"group create web --vpc blue", `CreateGroup {"name":"web","vpc":"blue"}`, "group web created in VPC blue\n"},
		{"group delete web --vpc blue", `DeleteGroup {"name":"web","vpc":"blue"}`, "group web of VPC blue deleted\n"},
		{
			"group rule add db --vpc blue " + rule,
			`AddRule {"group":"db","vpc":"blue","rule":{"direction":"ingress","protocol":"tcp","ports":["80","8000-8100"],"peer":"group:web"}}`,
			"group db: rule ed85265da606 added: ingress tcp 80,8000-8100 from group:web\n",
		},
		{
			"group rule add db --vpc blue --direction egress --proto any --to 10.0.0.7",
			`AddRule {"group":"db","vpc":"blue","rule":{"direction":"egress","protocol":"any","peer":"10.0.0.7/32"}}`,
			"group db: rule 20f4b41b3487 added: egress any to 10.0.0.7/32\n",
		},
		{
			"group rule add db --vpc blue --direction ingress --action deny --priority 0 --proto icmp --icmp-type 3 --icmp-code 4" +
				" --from 10.0.0.0/8 --except 10.1.0.0/16,10.2.0.0/16 --except 10.0.0.9 --disabled --description lab",
			`AddRule {"group":"db","vpc":"blue","rule":{"direction":"ingress","protocol":"icmp","peer":"10.0.0.0/8","action":"deny",` +
				`"priority":0,"except":["10.0.0.9/32","10.1.0.0/16","10.2.0.0/16"],"icmp":"3/4","description":"lab","disabled":true}}`,
			"group db: rule b62257638f54 added: ingress deny priority 0 icmp 3/4 from 10.0.0.0/8 except 10.0.0.9/32,10.1.0.0/16,10.2.0.0/16\n",
		},
		{
			"group rule disable db --vpc blue --id ed85265da606",
			`UpdateRule {"group":"db","vpc":"blue","id":"ed85265da606","disabled":true}`, "group db: rule ed85265da606 disabled\n",
		},
		{
			"group rule enable db --vpc blue --id ed85265da606",
			`UpdateRule {"group":"db","vpc":"blue","id":"ed85265da606","disabled":false}`, "group db: rule ed85265da606 enabled\n",
		},
		{
			"group rule describe db --vpc blue --id ed85265da606 --description=",
			`UpdateRule {"group":"db","vpc":"blue","id":"ed85265da606","description":""}`, "group db: rule ed85265da606 described\n",
		},
		{
			"group rule remove db --vpc blue " + rule,
			`RemoveRule {"group":"db","vpc":"blue","rule":{"direction":"ingress","protocol":"tcp","ports":["80","8000-8100"],"peer":"group:web"}}`,
			"group db: rule ed85265da606 (ingress tcp 80,8000-8100 from group:web) removed\n",
		},
		{
			"group rule remove db --id ed85265da606 --vpc blue",
			`RemoveRule {"group":"db","vpc":"blue","rule":{"id":"ed85265da606"}}`, "group db: rule ed85265da606 removed\n",
		},
		{
			"endpoint attach web-1 --vpc blue --ip 10.0.0.7 --group a --group b,c --netns web-1 --ifname net0",
			`AttachEndpoint {"name":"web-1","vpc":"blue","ip":"10.0.0.7","groups":["a","b","c"],"netns":{"path":"/run/netns/web-1","ifname":"net0"}}`,
			"endpoint web-1 attached to VPC blue: 10.0.0.7, MAC -, device env0, ready\n",
		},
		{
			"endpoint attach web-1 --vpc blue --ip 10.0.0.7 --ip fd00:1:0::7,10.0.0.8 --prefix 10.0.0.100/32 --prefix fd00:1::/72 --tap t",
			`AttachEndpoint {"name":"web-1","vpc":"blue","ip":"10.0.0.7","tap":{"name":"t"},"ips":["fd00:1::7","10.0.0.8"],"prefixes":["10.0.0.100/32","fd00:1::/72"]}`,
			"endpoint web-1 attached to VPC blue: 10.0.0.7,fd00:1::7,10.0.0.8, MAC -, device env0, ready\n",
		},
		{
			"endpoint attach web-1 --vpc blue --ip 10.0.0.7 --netns /proc/1/ns/net --mac 02-00-00-00-00-0A",
			`AttachEndpoint {"name":"web-1","vpc":"blue","ip":"10.0.0.7","netns":{"path":"/proc/1/ns/net"},"mac":"02:00:00:00:00:0a"}`,
			"endpoint web-1 attached to VPC blue: 10.0.0.7, MAC 02:00:00:00:00:0a, device env0, ready\n",
		},
		{
			"endpoint attach vm --vpc blue --ip 10.0.0.7 --tap tap0",
			`AttachEndpoint {"name":"vm","vpc":"blue","ip":"10.0.0.7","tap":{"name":"tap0"}}`,
			"endpoint vm attached to VPC blue: 10.0.0.7, MAC -, device env0, ready\n",
		},
		{
			"endpoint attach bm --vpc blue --ip 10.0.0.7 --device eth1",
			`AttachEndpoint {"name":"bm","vpc":"blue","ip":"10.0.0.7","device":{"name":"eth1"}}`,
			"endpoint bm attached to VPC blue: 10.0.0.7, MAC -, device env0, ready\n",
		},
		{"endpoint detach web-1 --vpc blue", `DetachEndpoint {"name":"web-1","vpc":"blue"}`, "endpoint web-1 of VPC blue detached\n"},
		{"endpoint list --vpc none", `ListEndpoints {"vpc":"none"}`, ""},
		{"group list --vpc none", `ListGroups {"vpc":"none"}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			f := mesh()
			got := tool(t.Context(), f.serve(t), " from-stdin\n", strings.Fields(tt.args)...)
			if tt.want == "" {
				tt.want = got.stdout // lists are tested elsewhere
			}
			if got.stdout != tt.want || got.stderr != "" || got.code != exitOK {
				t.Errorf("got  %+v\nwant %q", got, tt.want)
			}
			if !slices.Equal(f.requests, []string{tt.request}) {
				t.Errorf("asked %v\nwant  %s", f.requests, tt.request)
			}
		})
	}
}

func TestCountersAreNamedAsInTheAPI(t *testing.T) {
	socket := mesh().serve(t)
	type stats struct {
		Name, VPC string
		Counters  struct {
			RxPackets, RxBytes, TxPackets, TxBytes, Flows, ShadowAllows, ShadowDrops uint64
			Drops                                                                    map[string]uint64
		}
	}
	var all []stats
	got := tool(t.Context(), socket, "", "endpoint", "stats", "-o", "json")
	if err := json.Unmarshal([]byte(got.stdout), &all); err != nil || len(all) != 1 || all[0].Counters.Flows != 12 || all[0].Counters.Drops["fragment"] != 7 {
		t.Errorf("%+v, %v", got, err)
	}
	var one stats
	got = tool(t.Context(), socket, "", "endpoint", "stats", "web-1", "--vpc", "blue", "-o", "json")
	if err := json.Unmarshal([]byte(got.stdout), &one); err != nil || one.Name != "web-1" || one.Counters.ShadowDrops != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	got = tool(t.Context(), socket, "", "endpoint", "stats", "web-2", "--vpc", "blue")
	if want := "edgenetctl: read counters: endpoint web-2 of VPC blue is on node edge-1: ask there\n"; got.stderr != want || got.code != exitError {
		t.Errorf("got %+v, want %q", got, want)
	}
	if got := tool(t.Context(), (&fake{}).serve(t), "", "endpoint", "stats"); got.stdout != "no endpoints here\n" {
		t.Errorf("without endpoints: %+v", got)
	}
}

func TestARelativeNamespacePathIsMadeAbsolute(t *testing.T) {
	f := mesh()
	tool(t.Context(), f.serve(t), "", "endpoint", "attach", "a", "--vpc", "b", "--ip", "10.0.0.1", "--netns", "./ns")
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if len(f.requests) != 1 || !strings.Contains(f.requests[0], `"path":"`+filepath.Join(dir, "ns")+`"`) {
		t.Errorf("asked %v", f.requests)
	}
}

func TestTheSocketFlagWinsOverTheEnvironment(t *testing.T) {
	f := mesh()
	socket := f.serve(t)
	for _, args := range [][]string{{"--socket", socket, "leave"}, {"leave", "--socket", socket}} {
		if got := tool(t.Context(), "/nonexistent", "", args...); got.code != exitOK {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	app := newApp(&env{getenv: func(string) string { return "" }})
	var visit func(path []string)
	visit = func(path []string) {
		line, _ := arrange(app, path)
		for _, args := range [][]string{append(slices.Clone(path), "--help"), append([]string{"help"}, path...), append([]string{"-h"}, path...)} {
			got := tool(t.Context(), "/nonexistent", "", args...)
			usage := "Usage: edgenetctl " + strings.Join(path, " ")
			if got.code != exitOK || got.stderr != "" || !strings.HasPrefix(got.stdout, usage) || !strings.Contains(got.stdout, "\nExample:\n  ") {
				t.Errorf("%v: %+v", args, got)
			}
		}
		for _, c := range line.subcommands(app) {
			visit(append(slices.Clone(path), c.Name))
		}
	}
	visit(nil)
}

func TestVersion(t *testing.T) {
	got := tool(t.Context(), "/nonexistent", "", "--version")
	if again := tool(t.Context(), "/nonexistent", "", "version"); again != got {
		t.Errorf("--version says %+v, version %+v", got, again)
	}
	if !strings.HasPrefix(got.stdout, "edgenetctl dev ") && !strings.HasPrefix(got.stdout, "edgenetctl dev(") || got.code != exitOK {
		t.Errorf("%+v", got)
	}
	var fields map[string]string
	got = tool(t.Context(), "/nonexistent", "", "version", "-o", "json")
	if err := json.Unmarshal([]byte(got.stdout), &fields); err != nil || fields["version"] != "dev" || fields["go"] == "" || len(fields) != 4 {
		t.Errorf("%+v, %v", got, err)
	}
}
