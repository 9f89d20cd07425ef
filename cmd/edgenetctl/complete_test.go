package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestComplete(t *testing.T) {
	socket := mesh().serve(t)
	tests := []struct{ name, typed, want string }{
		{"a command", "no", "node"},
		{"all subcommands", "vpc ", "create list show delete"},
		{"subcommands of the mesh", "mesh ", "health show set"},
		{"a nested command", "group rule ", "add remove disable enable describe"},
		{"a rule's id", "group rule remove web --vpc blue --id 000000000001", "000000000001"},
		{"help", "he", "help"},
		{"a flag", "endpoint attach --ne", "--netns"},
		{"a flag of every command", "vpc list --so", "--socket"},
		{"a node's name", "node show edge", "edge-1 edge-2"},
		{"the name of a node to evict", "node evict edge", "edge-1 edge-2"},
		{"a VPC's name", "vpc delete ", "blue green"},
		{"a VPC as a flag's value", "endpoint list --vpc b", "blue"},
		{"a flag's value behind =", "endpoint list --vpc=b", "--vpc=blue"},
		{"a group as an argument", "group rule add w", "web"},
		{"the last group of a list", "endpoint attach x --group db,w", "db,web"},
		{"a peer", "group rule add web --vpc blue --from g", "group:db group:web"},
		{"an endpoint", "endpoint detach ", "web-1 web-2"},
		{"a grant", "grant delete web", "web-1 web-2"},
		{"a setting", "mesh set ", "require-grants"},
		{"what it can be", "mesh set require-grants o", "off on"},
		{"a node as a flag's value", "grant create web-1 --node e", "edge-1 edge-2"},
		{"a direction", "group rule add web --direction i", "ingress"},
		{"a kind of event in a list", "events --kind node-dead,tunnel-u", "node-dead,tunnel-up"},
		{"a format", "-o j", "json"},
		{"the word behind a complete flag", "-o json vp", "vpc"},
		{"a shell", "completion ", "bash fish zsh"},
		{"nothing behind the last argument", "vpc show blue ", ""},
		{"nothing where anything can stand", "join ", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tool(t.Context(), socket, "", append([]string{completeWord}, strings.Split(tt.typed, " ")...)...)
			if words := strings.Join(strings.Fields(got.stdout), " "); words != tt.want || got.stderr != "" || got.code != exitOK {
				t.Errorf("%q is completed to %q; want %q; %+v", tt.typed, words, tt.want, got)
			}
		})
	}
}

func TestCompletionWithoutADaemonIsSilent(t *testing.T) {
	if got := tool(t.Context(), "/nonexistent", "", completeWord, "vpc", "show", ""); got != (result{}) {
		t.Errorf("%+v", got)
	}
}

// install makes the test program executable as edgenetctl and returns the
// environment in which it is found.
func install(t *testing.T, socket string) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, program)); err != nil {
		t.Fatal(err)
	}
	return append(os.Environ(), asTool+"=1", "EDGENET_SOCKET="+socket, "PATH="+dir+":"+os.Getenv("PATH"))
}

func TestTheShellsComplete(t *testing.T) {
	socket := mesh().serve(t)
	environ := install(t, socket)
	shells := []struct{ shell, script string }{
		{"bash", `source <(edgenetctl completion bash)
ask() { COMP_LINE=$1 COMP_POINT=${#1}; _edgenetctl; echo "${COMPREPLY[*]}"; }
ask "edgenetctl vpc "
ask "edgenetctl vpc show b"
ask "edgenetctl group rule add web --from group:w"
complete -p edgenetctl >/dev/null || echo not registered`},
		{"fish", `edgenetctl completion fish | source
function ask; string join " " (complete -C $argv[1] | string replace -r '\t.*' ''); end
ask "edgenetctl vpc "
ask "edgenetctl vpc show b"
ask "edgenetctl group rule add web --from group:w"
true # string replace fails where it has nothing to replace`},
		{"zsh", `compdef() { :; }
compadd() { shift; reply="$*"; }
_files() { reply=files; }
source <(edgenetctl completion zsh)
ask() { words=("$@"); CURRENT=$#; _edgenetctl; echo "$reply"; }
ask edgenetctl vpc ""
ask edgenetctl vpc show b
ask edgenetctl group rule add web --from group:w`},
	}
	want := map[string]string{
		"bash": "create list show delete\nblue\nweb\n",
		// fish sorts.
		"fish": "create delete list show\nblue\ngroup:web\n",
		"zsh":  "create list show delete\nblue\ngroup:web\n",
	}
	for _, tt := range shells {
		t.Run(tt.shell, func(t *testing.T) {
			path, err := exec.LookPath(tt.shell)
			if err != nil {
				t.Skipf("%s is not installed", tt.shell)
			}
			cmd := exec.CommandContext(t.Context(), path, "-c", tt.script)
			cmd.Env = append(environ, "HOME="+t.TempDir())
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != want[tt.shell] {
				t.Errorf("%v\n%s\nwant\n%s", err, out, want[tt.shell])
			}
		})
	}
}
