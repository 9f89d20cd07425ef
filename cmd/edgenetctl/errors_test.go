package main

import (
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"
)

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
		{"token create --ttl 1000h", "edgenetctl token create: --ttl 1000h is not possible: write whole seconds from 1s to 720h"},
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
		{"group rule add web --vpc blue --direction ingress --proto icmp --ports 80 --from any", "edgenetctl group rule add: rule has ports for protocol icmp: only tcp, udp and sctp have ports"},
		{"group rule add web --vpc blue --direction ingress --proto tcp --ports= --from any", `edgenetctl group rule add: parse ports "": empty: write ports and ranges as in 80,8000-8100`},
		{"group rule remove web --vpc blue --id 1 --proto tcp", "edgenetctl group rule remove: --id and --proto exclude each other"},
		{"group rule add web --vpc blue --direction ingress --proto icmp --icmp-code 4 --from any", "edgenetctl group rule add: --icmp-code goes with --icmp-type only"},
		{"group rule add web --vpc blue --direction ingress --proto tcp --priority 65536 --from any", `edgenetctl group rule add: parse priority "65536": write a number from 0, which decides first, to 65535`},
		{"group rule add web --vpc blue --direction ingress --proto tcp --from any --disabled=perhaps", `edgenetctl group rule add: invalid boolean value "perhaps" for flag --disabled: parse error`},
		{"group rule disable web --vpc blue", "edgenetctl group rule disable: --id is missing"},
		{"group rule describe web --vpc blue --id 1", "edgenetctl group rule describe: --description is missing"},
		{"group replace web --vpc blue", "edgenetctl group replace: --file is missing"},
		{attach, "edgenetctl endpoint attach: give exactly one of --netns, --tap and --device"},
		{attach + "--tap a --device b", "edgenetctl endpoint attach: give exactly one of --netns, --tap and --device"},
		{attach + "--tap a --ifname eth0", "edgenetctl endpoint attach: --ifname goes with --netns only"},
		{attach + "--tap a --mac 1:2", `edgenetctl endpoint attach: --mac "1:2" is no Ethernet address: write one as 02:00:00:00:00:01`},
		{attach + "--tap a --group web,,db", "edgenetctl endpoint attach: --group: name is empty: write 1 to 63 lower-case letters, digits or '-'"},
		{"endpoint attach web-1 --vpc blue --ip ten --tap a", `edgenetctl endpoint attach: --ip "ten" is no address: write one as 10.0.0.7`},
		{"watch --kind nodes", `edgenetctl watch: unknown kind "nodes": write node, vpc, group, endpoint, tunnel, or an event as node-dead`},
		{"events --kind node,moon", `edgenetctl events: unknown kind "moon": write node, vpc, group, endpoint, tunnel, or an event as node-dead`},
		{"events --since yesterday", `edgenetctl events: --since "yesterday": write a duration, as 90s or 2h, or a revision that -o json has shown`},
		{"events --since -1h", `edgenetctl events: --since -1h: a time in the future`},
		{"completion ksh", `edgenetctl completion: unknown shell "ksh": write bash, fish, zsh`},
		{"tunnel policy set cloud-edge", "edgenetctl tunnel policy set: wireguard or ipsec is missing"},
		{"tunnel policy set cloud ipsec", `edgenetctl tunnel policy set: parse nodes "cloud": write any, two roles as cloud-edge, or node:NAME,node:NAME`},
		{"tunnel policy set node:a,b ipsec", `edgenetctl tunnel policy set: parse nodes "node:a,b": write node:NAME,node:NAME`},
		{"tunnel policy set any none", `edgenetctl tunnel policy set: parse technology "none": write wireguard or ipsec`},
		{"tunnel policy remove", "edgenetctl tunnel policy remove: which nodes is missing"},
		{"grant create web-1 --vpc blue --ip 10.0.0.7", "edgenetctl grant create: --node is missing"},
		{"grant create web-1 --vpc blue --node edge-1", "edgenetctl grant create: --ip is missing"},
		{"grant create web-1 --vpc blue --node edge-1 --ip 10.0.0.7 --ttl 500ms", "edgenetctl grant create: --ttl 500ms is not possible: write whole seconds, one at least"},
		{"grant create web-1 --vpc blue --node edge-1 --ip 10.0.0.7 --group Web", `edgenetctl grant create: --group: name "Web" has 'W' at position 1: only lower-case letters, digits and '-' are possible`},
		{"grant delete web-1 --vpc blue", "edgenetctl grant delete: --node is missing"},
		{"mesh set require-grants", "edgenetctl mesh set: on or off is missing"},
		{"mesh set require-grants maybe", `edgenetctl mesh set: require-grants "maybe" is not possible: write on or off`},
		{"mesh set colour on", `edgenetctl mesh set: no setting "colour": there is require-grants`},
		{"nonsense", `edgenetctl: unknown command "nonsense": there are init, token, join, leave, status, mesh, node, gossip-key, ca, tunnel, vpc, group, endpoint, grant, policy, trace, flow, drops, audit, watch, events, doctor, version, completion`},
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

func TestWhatFailedIsSaidOnce(t *testing.T) {
	f := &fake{err: connect.NewError(connect.CodeInternal, errors.New("create vpc blue: disk is full"))}
	got := tool(t.Context(), f.serve(t), "", "vpc", "create", "blue", "--cidr", "10.0.0.0/24")
	if want := "edgenetctl: create vpc blue: disk is full\n"; got.stderr != want {
		t.Errorf("got %q, want %q", got.stderr, want)
	}
}
