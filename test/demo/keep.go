package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/test/netns/lab"
)

const (
	// holderFile has the process id of the demo that -keep left running.
	holderFile = "/run/edgenet-demo.pid"
	// endOfShow is the holder's last line; its starter then lets go of it.
	endOfShow = "-- end of show --"
)

// startHolder runs the demo in a process of its own session and returns when it
// has been shown; the hosts stay up as long as that process.
func startHolder() error {
	if pid, err := readHolder(); err == nil && unix.Kill(pid, 0) == nil {
		return fmt.Errorf("a demo is kept running already (process %d); make demo STOP=1 ends it", pid)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	cmd := exec.Command(self, "-holder")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start demo: %w", err)
	}
	// What stays in the background keeps nothing of ours open: whoever reads what
	// we say would wait for its end, too.
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start demo: %w", err)
	}
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if lines.Text() == endOfShow {
			return cmd.Process.Release()
		}
		fmt.Println(lines.Text())
	}
	return errors.Join(lines.Err(), cmd.Wait(), errors.New("the demo ended early"))
}

// fallSilent has what the holder says from now on go nowhere: nobody reads it any
// more, and it is not to die of that.
func fallSilent() error {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("fall silent: %w", err)
	}
	defer null.Close() //nolint:errcheck // nothing was written to it
	for _, file := range []*os.File{os.Stdout, os.Stderr} {
		if err := unix.Dup3(int(null.Fd()), int(file.Fd()), 0); err != nil {
			return fmt.Errorf("fall silent: %w", err)
		}
	}
	return nil
}

func writeHolder() error {
	if err := os.WriteFile(holderFile, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return fmt.Errorf("remember process: %w", err)
	}
	return nil
}

func readHolder() (int, error) {
	b, err := os.ReadFile(holderFile)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

func removeHolder() { _ = os.Remove(holderFile) }

// stopHolder ends a kept demo and waits until it is gone.
func stopHolder() error {
	pid, err := readHolder()
	if err != nil {
		return fmt.Errorf("no demo is kept running: %w", err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		removeHolder()
		return fmt.Errorf("no demo is kept running: process %d: %w", pid, err)
	}
	process := os.NewFile(uintptr(fd), "pidfd")
	defer process.Close() //nolint:errcheck // nothing was written to it
	if err := unix.Kill(pid, unix.SIGTERM); err != nil {
		return fmt.Errorf("end demo: %w", err)
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(poll, -1); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// explain says how to talk to the hosts and containers.
func explain(out io.Writer, hosts []*lab.Host, containers []*lab.Container) {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }
	say("")
	say("== left running; to talk to it:")
	for _, h := range hosts {
		say("   %s  --socket %s node list", lab.Program("edgenetctl"), h.Socket())
	}
	for _, c := range containers {
		say("   nsenter --net=%s ip addr    # %s on %s", c.Netns(), c, c.Host().Name)
	}
	say("   make demo STOP=1     # takes it all down")
}
