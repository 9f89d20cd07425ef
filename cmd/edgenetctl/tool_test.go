package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"

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
Tunnel:       up
Driver:       wireguard-userspace
Device:       enaa00000001w
Peer:         198.18.0.2:51820
MTU:          1420 B
RTT:          1.23 ms
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
web   blue  1        1       1m ago
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
Ingress:  only what rules permit
Egress:   only what rules permit

RULE          DIRECTION  PROTOCOL  PORTS         PEER
000000000001  ingress    tcp       80,8000-8100  any
000000000002  egress     icmp      all           group:db
`},
		{"endpoint list", `
NAME   VPC   IP        GROUPS  NODE     KIND   DEVICE  ATTACHED  STATE
web-1  blue  10.0.0.7  db,web  cloud-1  netns  env0    5s ago    ready
web-2  blue  10.0.0.8  -       edge-1   tap    tap0    -         failed: no such?device ?[31m
`},
		{"endpoint show web-1 --vpc blue", `
Name:       web-1
VPC:        blue
IP:         10.0.0.7
MAC:        02:00:00:00:00:07
Groups:     db,web
Node:       cloud-1 (aa00000001)
Kind:       netns
Namespace:  /run/netns/web-1
Interface:  eth0
Device:     env0
State:      ready
Attached:   5s ago
Received:   3 packets, 300 B
Sent:       9007199254740992 packets, 8.0 EiB
Dropped:    9 spoofed-mac, 7 fragment, 7 no-ingress-rule
`},
	}
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

func TestWhatFailedIsSaidOnce(t *testing.T) {
	f := &fake{err: connect.NewError(connect.CodeInternal, errors.New("create vpc blue: disk is full"))}
	got := tool(t.Context(), f.serve(t), "", "vpc", "create", "blue", "--cidr", "10.0.0.0/24")
	if want := "edgenetctl: create vpc blue: disk is full\n"; got.stderr != want {
		t.Errorf("got %q, want %q", got.stderr, want)
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

func TestWrongUsage(t *testing.T) {
	f := mesh()
	socket := f.serve(t)
	const attach = "endpoint attach web-1 --vpc blue --ip 10.0.0.7 "
	tests := []struct{ args, want string }{
		{"vpc list extra", `edgenetctl vpc list: "extra" is one argument too many`},
		{"vpc list -o xml", `edgenetctl vpc list: unknown output format "xml": write table, json or yaml`},
		{"vpc create", "edgenetctl vpc create: NAME is missing"},
		{"vpc create blue", "edgenetctl vpc create: --cidr is missing"},
		{"vpc create Blue --cidr 10.0.0.0/24", `edgenetctl vpc create: name "Blue" has 'B' at position 1: only lower-case letters, digits and '-' are possible`},
		{"vpc create blue --cidr 10.0.0.0", `edgenetctl vpc create: --cidr "10.0.0.0" is no CIDR: write an address and a length, as in 10.0.0.0/24`},
		{"vpc create blue --cidr 10.0.0.1/24", "edgenetctl vpc create: --cidr 10.0.0.1/24 has bits set behind its length: write 10.0.0.0/24"},
		{"vpc create blue --uses 1", "edgenetctl vpc create: unknown flag --uses"},
		{"token create --uses 0", "edgenetctl token create: --uses 0 is not possible: write 1 or more"},
		{"token create --uses many", `edgenetctl token create: invalid value "many" for flag --uses: parse error`},
		{"token create --ttl 1000h", "edgenetctl token create: --ttl 1000h0m0s is not possible: write whole seconds from 1s to 720h0m0s"},
		{"token create --ttl 10", `edgenetctl token create: invalid value "10" for flag --ttl: parse error`},
		{"join", "edgenetctl join: TOKEN is missing"},
		{"join -", "edgenetctl join: stdin has no token"},
		{"group create web", "edgenetctl group create: --vpc is missing"},
		{"group rule add web --vpc blue", "edgenetctl group rule add: --direction is missing"},
		{"group rule add web --vpc blue --direction in", `edgenetctl group rule add: parse direction "in": write ingress or egress`},
		{"group rule add web --vpc blue --direction ingress", "edgenetctl group rule add: --proto is missing"},
		{"group rule add web --vpc blue --direction ingress --proto tcp", "edgenetctl group rule add: --from is missing"},
		{"group rule add web --vpc blue --direction egress --proto tcp", "edgenetctl group rule add: --to is missing"},
		{"group rule add web --vpc blue --direction egress --proto tcp --from any", "edgenetctl group rule add: --from is for ingress: write --to for egress"},
		{"group rule add web --vpc blue --direction ingress --proto tcp --to any", "edgenetctl group rule add: --to is for egress: write --from for ingress"},
		{"group rule add web --vpc blue --direction ingress --proto tcp --from any --to any", "edgenetctl group rule add: --from and --to exclude each other: --from is for ingress, --to for egress"},
		{"group rule add web --vpc blue --direction ingress --proto tcp --from 10.0.0.1/8", `edgenetctl group rule add: parse peer "10.0.0.1/8": 10.0.0.1/8 has bits set behind its length: write 10.0.0.0/8 for the network or 10.0.0.1 for the address`},
		{"group rule add web --vpc blue --direction ingress --proto icmp --ports 80 --from any", "edgenetctl group rule add: rule has ports for protocol icmp: only tcp and udp have ports"},
		{"group rule add web --vpc blue --direction ingress --proto tcp --ports= --from any", `edgenetctl group rule add: parse ports "": item 1: empty: write ports and ranges as in 80,8000-8100`},
		{"group rule remove web --vpc blue --id 1 --proto tcp", "edgenetctl group rule remove: --id and --proto exclude each other"},
		{attach, "edgenetctl endpoint attach: give exactly one of --netns, --tap and --device"},
		{attach + "--tap a --device b", "edgenetctl endpoint attach: give exactly one of --netns, --tap and --device"},
		{attach + "--tap a --ifname eth0", "edgenetctl endpoint attach: --ifname goes with --netns only"},
		{attach + "--tap a --mac 1:2", `edgenetctl endpoint attach: --mac "1:2" is no Ethernet address: write one as 02:00:00:00:00:01`},
		{attach + "--tap a --group web,,db", "edgenetctl endpoint attach: --group: name is empty: write 1 to 63 lower-case letters, digits or '-'"},
		{"endpoint attach web-1 --vpc blue --ip ten --tap a", `edgenetctl endpoint attach: --ip "ten" is no address: write one as 10.0.0.7`},
		{"watch --kind nodes", `edgenetctl watch: unknown kind "nodes": write node, vpc, group, endpoint`},
		{"completion ksh", `edgenetctl completion: unknown shell "ksh": write bash, fish, zsh`},
		{"nonsense", `edgenetctl: unknown command "nonsense": there are init, token, join, leave, status, node, vpc, group, endpoint, watch, version, completion`},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			got := tool(t.Context(), socket, "", strings.Fields(tt.args)...)
			message, hint, _ := strings.Cut(strings.TrimSuffix(got.stderr, "\n"), "\n")
			if got.code != exitUsage || got.stdout != "" || message != tt.want {
				t.Errorf("got  %+v\nwant %s", got, tt.want)
			}
			if !strings.HasPrefix(hint, "usage: edgenetctl ") && !strings.HasPrefix(hint, "see: edgenetctl ") || strings.Contains(hint, "\n") {
				t.Errorf("the hint is %q", hint)
			}
		})
	}
	if len(f.requests) > 0 {
		t.Errorf("wrong usage asked edgenetd %v", f.requests)
	}
}

func TestErrorsAreOneLineWithoutNoise(t *testing.T) {
	silent := filepath.Join(t.TempDir(), "sock")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: silent, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	refusing := &fake{err: connect.NewError(connect.CodeFailedPrecondition, errors.New("this node is in no mesh:\njoin one"))}
	stranger := serve(t, http.NotFoundHandler())
	breaking := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))

	tests := []struct{ name, socket, args, want string }{
		{"no socket", "/nonexistent/sock", "vpc list", "edgenetctl: list VPCs: no socket at /nonexistent/sock: start edgenetd, or name another socket with --socket or EDGENET_SOCKET\n"},
		{"nobody listens", silent, "status", "edgenetctl: get status: nothing listens at " + silent + ": start edgenetd, or name another socket with --socket or EDGENET_SOCKET\n"},
		{"edgenetd refuses", refusing.serve(t), "endpoint attach web-1 --vpc blue --ip 10.0.0.7 --tap a", "edgenetctl: attach endpoint web-1: this node is in no mesh:; join one\n"},
		{"a stranger listens", stranger, "init", "edgenetctl: make mesh: edgenetd does not know this call: it is older than this tool, or something else listens at the socket\n"},
		{"edgenetd breaks off", breaking, "leave", "edgenetctl: leave: edgenetd broke off: "},
		{"a watch finds nobody", silent, "watch", "edgenetctl: watch: nothing listens at "},
		{"a watch is refused", refusing.serve(t), "watch", "edgenetctl: watch: this node is in no mesh:; join one\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tool(t.Context(), tt.socket, "", strings.Fields(tt.args)...)
			if got.code != exitError || got.stdout != "" || !strings.HasPrefix(got.stderr, tt.want) || strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("got  %+v\nwant %q", got, tt.want)
			}
			for _, noise := range []string{"unavailable", "failed_precondition", "http://", "Post "} {
				if strings.Contains(got.stderr, noise) {
					t.Errorf("stderr has the noise %q: %s", noise, got.stderr)
				}
			}
		})
	}
}

func TestASocketThatMayNotBeOpenedSaysWhoMay(t *testing.T) {
	err := &dialError{socket: "/s", err: os.ErrPermission}
	if want := "no permission for /s: be root or a member of the socket's group"; err.Error() != want {
		t.Errorf("got %q", err)
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
	got := tool(t.Context(), "/nonexistent", "", "version")
	if !strings.HasPrefix(got.stdout, "edgenetctl dev ") && !strings.HasPrefix(got.stdout, "edgenetctl dev(") || got.code != exitOK {
		t.Errorf("%+v", got)
	}
	var fields map[string]string
	got = tool(t.Context(), "/nonexistent", "", "version", "-o", "json")
	if err := json.Unmarshal([]byte(got.stdout), &fields); err != nil || fields["version"] != "dev" || fields["go"] == "" || len(fields) != 4 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWatch(t *testing.T) {
	f := mesh()
	f.events = []*edgenetv1.WatchResponse{
		{Type: "added", Object: &edgenetv1.WatchResponse_Node{Node: f.nodes[1]}},
		{Type: "added", Object: &edgenetv1.WatchResponse_Vpc{Vpc: f.vpcs[0]}},
		{Type: "added", Object: &edgenetv1.WatchResponse_Group{Group: f.groups[1]}},
		{Type: "synced"},
		{Type: "modified", Object: &edgenetv1.WatchResponse_Endpoint{Endpoint: f.endpoints[0]}},
	}
	socket := f.serve(t)
	got := tool(t.Context(), socket, "", "watch", "--kind", "node", "--kind", "vpc,group")
	want := result{code: exitError, stderr: "edgenetctl: watch: edgenetd ended the stream\n", stdout: `
12:00:00  added     node      edge-1                alive, tunnel up
12:00:00  added     vpc       blue                  VNI 1, 10.0.0.0/24,10.1.0.0/24
12:00:00  added     group     blue/web              2 rules
12:00:00  synced
12:00:00  modified  endpoint  blue/web-1            10.0.0.7 on cloud-1, ready
`[1:]}
	if got != want {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if want := []string{`Watch {"kinds":["node","vpc","group"]}`}; !slices.Equal(f.requests, want) {
		t.Errorf("asked %v", f.requests)
	}

	got = tool(t.Context(), socket, "", "watch", "-o", "json")
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	if len(lines) != len(f.events) || lines[3] != `{"type":"synced"}` || !strings.HasPrefix(lines[1], `{"type":"added","vpc":{"name":"blue","vni":1,`) {
		t.Errorf("stdout\n%s", got.stdout)
	}
	got = tool(t.Context(), socket, "", "watch", "-o", "yaml")
	if strings.Count(got.stdout, "---\n") != len(f.events) || !strings.Contains(got.stdout, "---\ntype: synced\n---\n") {
		t.Errorf("stdout\n%s", got.stdout)
	}
}

func TestAnInterruptedWatchEndsWell(t *testing.T) {
	f := mesh()
	f.hold = true
	f.events = []*edgenetv1.WatchResponse{{Type: "synced"}}
	ctx, cancel := context.WithCancel(t.Context())
	// The person interrupts when the first line is there.
	stdout := writerFunc(func(p []byte) (int, error) {
		cancel()
		return len(p), nil
	})
	e := &env{
		stdout: stdout, stderr: stdout,
		getenv: func(string) string { return "" },
		dial: func(ctx context.Context, socket string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		now: now.Local,
	}
	if code := run(ctx, e, []string{"watch", "--socket", f.serve(t)}); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
