package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// Main does all that the machine is there for, and never returns.
func Main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "vm: "+err.Error()) // the kernel's console
	}
	// The host ends the machine as soon as it has the result; this is for when
	// it could not be told.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	select {}
}

func serve() error {
	spec, err := readSpec()
	if err != nil {
		return err
	}
	if err := mountKernel("/"); err != nil {
		return err
	}
	if err := loadModules(spec.Modules); err != nil {
		return err
	}
	output, err := openPort(PortOutput)
	if err != nil {
		return err
	}
	result, err := openPort(PortResult)
	if err != nil {
		return err
	}
	answer := Result{}
	if err := enterRoot(spec); err != nil {
		answer.Problem = err.Error()
	} else if answer.Code, err = run(spec, output); err != nil {
		answer.Problem = err.Error()
	}
	return json.NewEncoder(result).Encode(answer)
}

func readSpec() (*Spec, error) {
	text, err := os.ReadFile(SpecPath)
	if err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	spec := &Spec{}
	if err := json.Unmarshal(text, spec); err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	if len(spec.Args) == 0 {
		return nil, errors.New("read spec: no command")
	}
	return spec, nil
}

// run runs the command, copies what it writes, and buries whatever process has
// lost its parent.
func run(spec *Spec, output port) (code int, err error) {
	for _, variable := range spec.Env {
		name, value, _ := strings.Cut(variable, "=")
		if err := os.Setenv(name, value); err != nil {
			return 0, fmt.Errorf("set variable %s: %w", name, err)
		}
	}
	if err := os.Chdir(spec.Dir); err != nil {
		return 0, fmt.Errorf("enter directory: %w", err)
	}
	program, err := exec.LookPath(spec.Args[0])
	if err != nil {
		return 0, fmt.Errorf("find command: %w", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	copied, err := startCopy(output)
	if err != nil {
		return 0, err
	}
	process, err := os.StartProcess(program, spec.Args, &os.ProcAttr{
		Files: []*os.File{null, copied.writer, copied.writer},
		Sys:   &unix.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, fmt.Errorf("start command: %w", err)
	}
	code, err = await(process.Pid)
	return code, errors.Join(err, copied.finish())
}

// await returns how the process ended. As the first process, this one inherits
// those that lost their parents, and they stay as zombies until it waits.
func await(pid int) (code int, err error) {
	for {
		var status unix.WaitStatus
		ended, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait for command: %w", err)
		case ended == pid && status.Signaled():
			return 128 + int(status.Signal()), nil
		case ended == pid && status.Exited():
			return status.ExitStatus(), nil
		}
	}
}
