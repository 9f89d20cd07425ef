package machine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/test/vm/guest"
)

// Config is one run.
type Config struct {
	Kernel *Kernel
	// Processors and Memory (MiB) of the machine.
	Processors, Memory int
	// Args is the command, which has this process's environment and working
	// directory, as they are on the host. Output is what it writes, both to its
	// standard output and its standard error.
	Args   []string
	Output io.Writer
	// Console gets what the kernel says; nil keeps it for the error only.
	Console io.Writer
}

// RunIfAsked takes the process over when it was started as part of a machine.
// Every program that calls Run calls it first; the program has to be static.
func RunIfAsked() {
	if guest.Running() {
		guest.Main()
	}
	if len(os.Args) == 2 && os.Args[1] == shareCommand {
		fmt.Fprintln(os.Stderr, "vmtest:", becomeServer())
		os.Exit(1)
	}
}

// Run boots the kernel, runs the command and returns its exit code. When it
// returns, and also if this process is killed meanwhile, nothing of the machine
// is left. It must be called on the process's main thread, which the machine's
// processes do not outlive.
func Run(ctx context.Context, cfg Config) (code int, err error) {
	spec, err := newSpec(cfg)
	if err != nil {
		return 0, err
	}
	files, err := initial(ctx, cfg.Kernel, spec)
	if err != nil {
		return 0, fmt.Errorf("make initial file system: %w", err)
	}
	m, err := newMachine(files)
	if err != nil {
		return 0, err
	}
	defer m.closeFiles()
	said := &tail{limit: 16 << 10}
	server, err := m.share.serve(said)
	if err != nil {
		return 0, err
	}
	defer func() {
		end(server)
		if err != nil && len(said.text) > 0 {
			err = fmt.Errorf("%w\nits file server said last:\n%s", err, said)
		}
	}()
	emulator := m.emulator(cfg)
	if err := emulator.Start(); err != nil {
		return 0, fmt.Errorf("start qemu: %w", err)
	}
	defer end(emulator)
	return m.await(ctx, cfg, emulator)
}

func newSpec(cfg Config) (*guest.Spec, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	return &guest.Spec{
		ModuleTree: cfg.Kernel.Modules,
		Release:    cfg.Kernel.Release,
		Dir:        dir,
		Args:       cfg.Args,
		Env:        os.Environ(),
	}, nil
}

// end kills a process and waits for its end.
func end(process *exec.Cmd) {
	_ = process.Process.Kill()
	_ = process.Wait()
}

// await copies output until the result is there, or the machine stops without
// one, or the time is up.
func (m *machine) await(ctx context.Context, cfg Config, emulator *exec.Cmd) (code int, err error) {
	m.closeTheirs()
	var copying sync.WaitGroup
	console := &tail{limit: 16 << 10, also: cfg.Console}
	copying.Go(func() { _, _ = io.Copy(cfg.Output, m.output.ours) })
	copying.Go(func() { _, _ = io.Copy(console, m.console.ours) })

	var result guest.Result
	ended := make(chan error, 1)
	go func() { ended <- json.NewDecoder(m.result.ours).Decode(&result) }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = ctx.Err()
	}
	// What was written before the result is in the pipes by now.
	_ = emulator.Process.Kill()
	copying.Wait()
	switch {
	case errors.Is(err, io.EOF):
		err = errors.New("the machine stopped without a result")
	case err == nil && result.Problem != "":
		err = errors.New("inside the machine: " + result.Problem)
	}
	if err != nil {
		return 0, fmt.Errorf("%w; its console said last:\n%s", err, console)
	}
	return result.Code, nil
}

// machine holds what connects this process with a machine's processes.
type machine struct {
	share                   *share
	files                   *os.File
	output, result, console pipe
}

type pipe struct{ ours, theirs *os.File }

func newPipe(err *error) pipe {
	ours, theirs, failed := os.Pipe()
	*err = errors.Join(*err, failed)
	return pipe{ours, theirs}
}

func newMachine(files []byte) (m *machine, err error) {
	m = &machine{}
	m.output, m.result, m.console = newPipe(&err), newPipe(&err), newPipe(&err)
	if err != nil {
		return nil, fmt.Errorf("make pipes: %w", err)
	}
	fd, err := unix.MemfdCreate("initial", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make initial file system: %w", err)
	}
	m.files = os.NewFile(uintptr(fd), "initial")
	if _, err := io.Copy(m.files, bytes.NewReader(files)); err != nil {
		return nil, fmt.Errorf("make initial file system: %w", err)
	}
	m.share, err = newShare()
	return m, err
}

// closeTheirs closes what the started processes have their own copies of, so
// that the pipes end when these do.
func (m *machine) closeTheirs() {
	m.share.close()
	for _, file := range []*os.File{m.files, m.output.theirs, m.result.theirs, m.console.theirs} {
		_ = file.Close()
	}
}

func (m *machine) closeFiles() {
	m.closeTheirs()
	for _, file := range []*os.File{m.output.ours, m.result.ours, m.console.ours} {
		_ = file.Close()
	}
}

// emulator is the command that is the machine.
func (m *machine) emulator(cfg Config) *exec.Cmd {
	emulator := exec.Command("qemu-system-x86_64", arguments(cfg)...)
	emulator.Stderr = os.Stderr
	// Descriptors 3 and up, in the order of the constants.
	emulator.ExtraFiles = []*os.File{m.share.connection, m.files, m.output.theirs, m.result.theirs, m.console.theirs}
	emulator.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true}
	return emulator
}

// tail keeps the last bytes that are written to it.
type tail struct {
	limit int
	also  io.Writer
	text  []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.text = append(t.text, b...)
	if more := len(t.text) - t.limit; more > 0 {
		t.text = t.text[more:]
	}
	if t.also != nil {
		return t.also.Write(b)
	}
	return len(b), nil
}

func (t *tail) String() string { return strings.TrimSpace(string(t.text)) }
