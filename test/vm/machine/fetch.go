package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// sources are where Debian 12 has kernels: the stable one, and newer ones.
const sources = `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm-backports main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian-security bookworm-security main
`

// apt is apt with lists of its own, so that the machine's are left alone. Its
// proxy and other settings are the machine's.
type apt struct {
	dir     string
	options []string
}

func newApt(ctx context.Context, dir string) (*apt, error) {
	for _, sub := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	list := filepath.Join(dir, "sources.list")
	if err := os.WriteFile(list, []byte(sources), 0o644); err != nil {
		return nil, err
	}
	a := &apt{dir: dir, options: []string{
		"-o", "Dir::Etc::sourcelist=" + list,
		"-o", "Dir::Etc::sourceparts=-",
		"-o", "Dir::State::lists=" + filepath.Join(dir, "lists"),
		"-o", "Dir::Cache=" + filepath.Join(dir, "cache"),
		// The cache may be where apt's own user cannot go.
		"-o", "APT::Sandbox::User=root",
		"-o", "APT::Update::Error-Mode=any",
		"-o", "Acquire::Retries=2",
	}}
	_, err := a.run(ctx, "apt-get", "update", "-qq")
	return a, err
}

func (a *apt) run(ctx context.Context, program string, args ...string) (string, error) {
	return output(ctx, a.dir, program, append(slices.Clone(a.options), args...)...)
}

// fetch unpacks the newest kernel of the series into dir, whole or not at all.
func fetch(ctx context.Context, cache, series string, forVMs bool, dir string) error {
	a, err := newApt(ctx, filepath.Join(cache, "apt"))
	if err != nil {
		return err
	}
	names, err := a.run(ctx, "apt-cache", "pkgnames", "linux-image-"+series+".")
	if err != nil {
		return err
	}
	flavour := "amd64"
	if forVMs {
		flavour = "cloud-amd64"
	}
	newest := newestPackage(strings.Fields(names), series, flavour)
	if newest == "" {
		return fmt.Errorf("no package linux-image-%s.*-%s in bookworm-security or bookworm-backports", series, flavour)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "unpack-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	return a.unpack(ctx, newest, work, dir)
}

// unpack downloads the package into work, unpacks it there and moves it to dir.
func (a *apt) unpack(ctx context.Context, name, work, dir string) error {
	if _, err := output(ctx, work, "apt-get", append(slices.Clone(a.options), "-qq", "download", name)...); err != nil {
		return err
	}
	packages, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil || len(packages) != 1 {
		return errors.Join(fmt.Errorf("apt left %d packages", len(packages)), err)
	}
	tree := filepath.Join(work, "tree")
	if _, err := output(ctx, work, "dpkg", "-x", packages[0], tree); err != nil {
		return err
	}
	kernel, err := open(tree)
	if err != nil {
		return err
	}
	// The package's own script would do that at installation.
	if _, err := output(ctx, work, "depmod", "-b", tree, kernel.Release); err != nil {
		return err
	}
	return os.Rename(tree, dir)
}

// newestPackage picks from all names of the series the newest of the flavour.
func newestPackage(names []string, series, flavour string) string {
	wanted := regexp.MustCompile(`^linux-image-` + regexp.QuoteMeta(series) + `\.([^-]+(?:-[0-9]+)?)-` + flavour + `$`)
	newest := ""
	var version []int
	for _, name := range names {
		match := wanted.FindStringSubmatch(name)
		if match == nil {
			continue
		}
		if v := numbers(match[1]); newest == "" || slices.Compare(v, version) > 0 {
			newest, version = name, v
		}
	}
	return newest
}

var digits = regexp.MustCompile(`[0-9]+`)

// numbers returns the numbers in a version: those of 0-56, or 117+deb12.
func numbers(version string) []int {
	var all []int
	for _, text := range digits.FindAllString(version, -1) {
		n, err := strconv.Atoi(text)
		if err == nil {
			all = append(all, n)
		}
	}
	return all
}

// output runs a program and returns what it writes; its error says what it
// said.
func output(ctx context.Context, dir, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}
