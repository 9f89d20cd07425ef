package guest

import "os"

// Names of the virtio ports, as the machine gives them.
const (
	// PortOutput carries what the command writes.
	PortOutput = "edgenet.output"
	// PortResult carries one Result, as a line of JSON.
	PortResult = "edgenet.result"
	// ShareTag names the host's root.
	ShareTag = "hostroot"
	// SpecPath and ModuleDir are in the initial file system.
	SpecPath  = "/spec.json"
	ModuleDir = "/modules"
)

// Spec is what the machine is to do.
type Spec struct {
	// Modules are names of files in ModuleDir, each after those it needs.
	Modules []string
	// ModuleTree is the directory of all the kernel's modules, on the host.
	ModuleTree string
	// Release is the kernel's, as `uname -r` prints it.
	Release string
	// Dir is where the command starts, Env its environment.
	Dir  string
	Args []string
	Env  []string
}

// Result is how the command ended.
type Result struct {
	// Code is the exit code, 128 and the signal's number if it was killed.
	Code int
	// Problem is why the command did not run at all.
	Problem string
}

// Running says whether this process is a machine's first.
func Running() bool {
	if os.Getpid() != 1 {
		return false
	}
	_, err := os.Stat(SpecPath)
	return err == nil
}
