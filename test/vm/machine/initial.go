package machine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"edgenet.dev/edgenet/test/vm/guest"
)

// early are the modules without which the guest has no root and no ports.
// Others are loaded by the kernel on demand, from the host's root.
var early = []string{"virtio_pci", "virtio_console", "virtiofs", "overlay"}

// initial returns the machine's first file system, as a cpio archive: this very
// program as /init, the spec, and early modules.
func initial(ctx context.Context, kernel *Kernel, spec *guest.Spec) ([]byte, error) {
	dir, err := os.MkdirTemp("", "vmtest-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Mkdir(filepath.Join(dir, guest.ModuleDir), 0o755); err != nil {
		return nil, err
	}
	paths, err := modulePaths(kernel.Modules, early)
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		name, err := unpackModule(ctx, filepath.Join(kernel.Modules, path), filepath.Join(dir, guest.ModuleDir))
		if err != nil {
			return nil, err
		}
		spec.Modules = append(spec.Modules, name)
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, guest.SpecPath), text, 0o600); err != nil {
		return nil, err
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("read own program: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "init"), self, 0o755); err != nil {
		return nil, err
	}
	return archive(ctx, dir)
}

// unpackModule puts a module into dir as the kernel itself reads it, and
// returns its name.
func unpackModule(ctx context.Context, path, dir string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read module: %w", err)
	}
	name, compressed := strings.CutSuffix(filepath.Base(path), ".xz")
	if compressed {
		text, err := output(ctx, "/", "xz", "-dc", path)
		if err != nil {
			return "", err
		}
		content = []byte(text)
	}
	return name, os.WriteFile(filepath.Join(dir, name), content, 0o644)
}

// archive packs a directory the way the kernel unpacks.
func archive(ctx context.Context, dir string) ([]byte, error) {
	var names strings.Builder
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		names.WriteString(strings.TrimPrefix(path, dir+"/") + "\n")
		return nil
	})
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "cpio", "--create", "--format=newc", "--quiet", "--owner=0:0")
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(names.String())
	var packed, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &packed, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("cpio: %w: %s", err, &said)
	}
	return packed.Bytes(), nil
}

// modulePaths returns the files of the modules and of all that they need, each
// after what it needs, relative to the tree. Those that are part of the kernel
// are left out.
func modulePaths(tree string, wanted []string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(tree, "modules.dep"))
	if err != nil {
		return nil, fmt.Errorf("read dependencies of modules: %w", err)
	}
	builtin, err := os.ReadFile(filepath.Join(tree, "modules.builtin"))
	if err != nil {
		return nil, fmt.Errorf("read parts of the kernel: %w", err)
	}
	inKernel := make(map[string]bool)
	for path := range strings.Lines(string(builtin)) {
		inKernel[moduleName(strings.TrimSpace(path))] = true
	}
	files := make(map[string]string)
	needs := make(map[string][]string)
	for line := range strings.Lines(string(text)) {
		path, dependencies, _ := strings.Cut(line, ":")
		files[moduleName(path)] = path
		needs[path] = strings.Fields(dependencies)
	}
	var ordered []string
	for _, name := range wanted {
		path := files[name]
		if path == "" && !inKernel[name] {
			return nil, errors.New("kernel has no module " + name)
		}
		if path == "" {
			continue
		}
		// modules.dep lists all that a module needs, the deepest last.
		for _, file := range append(backward(needs[path]), path) {
			if !slices.Contains(ordered, file) {
				ordered = append(ordered, file)
			}
		}
	}
	return ordered, nil
}

func backward(list []string) []string {
	turned := slices.Clone(list)
	slices.Reverse(turned)
	return turned
}

// moduleName is a module's name as modprobe takes it.
func moduleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}
