package lab

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"go.uber.org/goleak"

	"edgenet.dev/edgenet/test/netns/lab/agent"
)

// Tests is what *testing.M is to Main.
type Tests interface{ Run() int }

// Main is the TestMain of a package of scenarios: it builds the programs, runs
// the tests, and fails if the process leaks goroutines or open files. With
// EDGENET_ALONE=1, which promises that nothing else on the machine loads BPF
// programs meanwhile, it also compares all BPF objects before and after.
func Main(tests Tests) {
	agent.RunIfAsked()
	os.Exit(runMain(tests))
}

func runMain(tests Tests) int {
	Sweep()
	remove, err := Build()
	if err != nil {
		fmt.Fprintf(os.Stderr, "lab: %v\n", err)
		return 1
	}
	defer remove()
	before := takeStock()
	code := tests.Run()
	if err := printFigures(); err != nil {
		fmt.Fprintf(os.Stderr, "lab: %v\n", err)
		return 1
	}
	if err := before.compare(); err != nil {
		fmt.Fprintf(os.Stderr, "lab: left behind by the tests:\n%v\n", err)
		return 1
	}
	return code
}

// stock is what this process and the kernel hold at one time.
type stock struct {
	files int
	bpf   map[bpfID]bool
}

func takeStock() stock {
	s := stock{files: openFiles()}
	if os.Getenv("EDGENET_ALONE") != "" {
		s.bpf, _ = allBPF()
	}
	return s
}

// compare returns an error for what is there now and was not before.
func (s stock) compare() error {
	err := await(goneTime, func() error {
		var problems []error
		if now := openFiles(); now > s.files {
			problems = append(problems, fmt.Errorf("%d open files, %d before", now, s.files))
		}
		if s.bpf != nil {
			now, err := allBPF()
			problems = append(problems, err)
			for id := range now {
				if !s.bpf[id] {
					problems = append(problems, errors.New(id.String()))
				}
			}
		}
		return errors.Join(problems...)
	})
	return errors.Join(err, goleak.Find())
}

// openFiles counts this process's descriptors, but for epoll's and the like that
// the runtime opens once and keeps.
func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	count := 0
	for _, entry := range entries {
		target, err := os.Readlink("/proc/self/fd/" + entry.Name())
		if err == nil && !strings.HasPrefix(target, "anon_inode:") && !strings.HasPrefix(target, "/proc/") {
			count++
		}
	}
	return count
}
