package netns

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/test/netns/lab"
)

// Flags win over the environment, which wins over the file.
func TestConfigurationPrecedence(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	host := l.Host("unused")
	nameIs := func(want string) {
		t.Helper()
		host.Start()
		var status struct{ Name string }
		host.CtlJSON(&status, "status")
		if status.Name != want {
			t.Errorf("the node's name is %q, want %q", status.Name, want)
		}
		host.Stop()
	}
	writeFile(t, host.Config(), "name: from-file\nlog-level: debug\n")
	host.Env = []string{"EDGENET_NAME=from-env"}
	host.Flags["name"] = "from-flag"
	nameIs("from-flag")
	delete(host.Flags, "name")
	nameIs("from-env")
	host.Env = nil
	nameIs("from-file")
}

// A configuration that cannot be meant is refused, and the message says which
// key or value.
func TestWrongConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	host := l.Host("edge-1")
	for _, wrong := range []struct{ file, word string }{
		{"nmae: edge-1\n", "nmae"},
		{"name: [a, b]\n", "name"},
		{"log-level: loud\n", "log-level"},
		{"gossip-port: 70000\n", "gossip-port"},
		{"name: edge-1\nname: edge-2\n", "name"},
		{"{", host.Config()},
	} {
		writeFile(t, host.Config(), wrong.file)
		delete(host.Flags, "log-level")
		refused(t, host, wrong.word)
	}
	writeFile(t, host.Config(), "")
	for _, wrong := range []struct{ flag, value string }{
		{"name", "Not_A_Name"},
		{"underlay", "not-an-address"},
		{"log-format", "xml"},
		{"log-level", "loud"},
	} {
		kept := host.Flags[wrong.flag]
		host.Flags[wrong.flag] = wrong.value
		refused(t, host, wrong.flag)
		host.Flags[wrong.flag] = kept
	}
	delete(host.Flags, "log-level")
	host.Flags["run-dir"] = "/tmp/" + strings.Repeat("long-", 20)
	refused(t, host, "run-dir")
	host.Flags["config"] = "/absent/edgenetd.yaml"
	refused(t, host, "/absent/edgenetd.yaml")
	if code, _ := host.RunDaemon("--no-such-flag"); code == 0 {
		t.Error("an unknown flag was taken")
	}
}

// refused expects that the daemon does not start, and names the word.
func refused(t *testing.T, host *lab.Host, word string) {
	t.Helper()
	if said := host.StartFails(); !strings.Contains(strings.ToLower(said), strings.ToLower(word)) {
		t.Errorf("want %q in what edgenetd said:\n%s", word, said)
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// pageSize is the database's unit: three of them are less than there must be, half
// of the file may be all that was in use.
const pageSize = 4096

// A state directory that cannot be used stops the start with its path in the
// message; nothing in it is overwritten.
func TestUnusableStateStopsTheStart(t *testing.T) {
	t.Parallel()
	l := lab.New(t)

	file := l.Host("file")
	writeFile(t, file.StateDir(), "not a directory")
	refused(t, file, file.StateDir())

	corrupt := l.Host("corrupt")
	corrupt.Start()
	corrupt.Init()
	corrupt.Stop()
	for _, name := range []string{"node.key", "mesh.db", "wireguard.key"} {
		path := filepath.Join(corrupt.StateDir(), name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Errorf("the state has no %s: %v", name, err)
			continue
		}
		for _, bad := range []string{"", "garbage", string(good[:min(len(good)/2, 3*pageSize)])} {
			writeFile(t, path, bad)
			refused(t, corrupt, path)
			if now, err := os.ReadFile(path); err != nil || string(now) != bad {
				t.Errorf("a corrupt %s was overwritten (%v)", name, err)
			}
		}
		writeFile(t, path, string(good))
	}
	corrupt.Start()
	if meshOf(corrupt) == "" {
		t.Error("with its state put back the node is in no mesh")
	}

	// Two daemons cannot have one state.
	twin := l.Host("twin")
	twin.Flags["state-dir"] = corrupt.StateDir()
	refused(t, twin, corrupt.StateDir())
	delete(twin.Flags, "state-dir")
	twin.Flags["state-dir"] = twin.StateDir()
	twin.Flags["run-dir"] = corrupt.RunDir()
	refused(t, twin, corrupt.RunDir())
}

// A full disk stops the start in words. One that fills up later refuses
// changes in words, keeps what runs running, and is over when there is room.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	host := l.Host("edge-1")
	if err := os.MkdirAll(host.StateDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", host.StateDir(), "tmpfs", 0, "size=1m"); err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(host.StateDir(), unix.MNT_DETACH); err != nil {
			t.Errorf("unmount the small disk: %v", err)
		}
	})
	ballast := filepath.Join(host.StateDir(), "ballast")
	fill(t, ballast)
	refused(t, host, host.StateDir())

	remove(t, ballast)
	host.Start()
	host.Init()
	host.VPC("blue", "10.0.0.0/24")
	host.Group("blue", "all", open)
	web, db := host.Container("web"), host.Container("db").Serves("http/80")
	web.Attach("blue", "10.0.0.2", "all")
	db.Attach("blue", "10.0.0.3", "all")
	web.Reaches(db, "http/80")

	fill(t, ballast)
	refusal := ""
	for number := 0; number < 500 && refusal == ""; number++ {
		refusal = host.Ctl("group", "create", fmt.Sprintf("g%d", number), "--vpc", "blue").Stderr
	}
	if !strings.Contains(refusal, "no space left") {
		t.Errorf("a full disk refused changes with %q, want the reason", refusal)
	}
	web.Reaches(db, "http/80")
	remove(t, ballast)
	host.Group("blue", "room", open)
	host.Restart()
	web.Reaches(db, "http/80")
	host.MustCtl("group", "show", "room", "--vpc", "blue")
	host.Stop()
	host.CleanUp()
}

// fill writes a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	for block := make([]byte, 4096); ; {
		if _, err := file.Write(block); err != nil {
			return
		}
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// An address that the host does not have, and a port that another program has,
// stop the start: no mesh is joined by a node that cannot be reached.
func TestAWrongUnderlayStopsTheStart(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	host := l.Host("edge-1")
	right := host.Flags["underlay"]
	host.Flags["underlay"] = "198.18.0.200"
	refused(t, host, "198.18.0.200: no device of this host has this address")
	host.Flags["underlay"] = right
	host.Start()

	other := l.Stranger("other").Serves("tcp/7947").Host()
	refused(t, other, "peer-port 7947: another program listens")
}
