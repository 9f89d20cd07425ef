package main

import (
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/agent"
)

// TestMain makes the test's own program the demo, where it is called as that.
func TestMain(m *testing.M) {
	agent.RunIfAsked()
	if len(os.Args) == 2 && (os.Args[1] == "-keep" || os.Args[1] == "-stop" || os.Args[1] == "-holder") {
		main()
		return
	}
	os.Exit(m.Run())
}

// Whoever reads what the demo says, to its end, does not wait for the hosts that
// it leaves running.
func TestAKeptDemoLetsItsCallerGo(t *testing.T) {
	lab.Require(t)
	if pid, err := readHolder(); err == nil && unix.Kill(pid, 0) == nil {
		t.Skipf("a demo is kept running on this machine already: process %d", pid)
	}
	output, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = output.Close() }()
	keep := exec.Command(os.Args[0], "-keep")
	keep.Stdout, keep.Stderr = writer, writer
	if err := keep.Start(); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	if err := output.SetReadDeadline(time.Now().Add(3 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	said, readErr := io.ReadAll(output)
	if err := keep.Wait(); err != nil || readErr != nil {
		t.Errorf("the demo ended with %v, its output with %v:\n%s", err, readErr, said)
	}
	pid, err := readHolder()
	if err != nil || unix.Kill(pid, 0) != nil {
		t.Errorf("it keeps nothing running: process %d, %v", pid, err)
	}
	if said, err := exec.Command(os.Args[0], "-stop").CombinedOutput(); err != nil {
		t.Errorf("stop: %v\n%s", err, said)
	}
	if _, err := os.Stat(holderFile); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", holderFile, err)
	}
}
