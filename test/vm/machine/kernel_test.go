package machine

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestTheNewestKernelOfASeriesIsFound(t *testing.T) {
	names := []string{
		"linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64", "linux-image-6.1.0-57-amd64",
		"linux-image-6.1.0-58-cloud-amd64-unsigned", "linux-image-6.1.0-58-cloud-amd64-dbg", "linux-image-6.1.0-58-rt-amd64",
		"linux-image-6.12.90+deb12-cloud-amd64", "linux-image-6.12.90+deb12.1-cloud-amd64", "linux-image-6.12.117+deb12-amd64",
		"linux-image-6.12-cloud-amd64", "linux-image-cloud-amd64",
	}
	for _, c := range []struct{ series, flavour, want string }{
		{"6.1", "cloud-amd64", "linux-image-6.1.0-56-cloud-amd64"},
		{"6.1", "amd64", "linux-image-6.1.0-57-amd64"},
		{"6.12", "cloud-amd64", "linux-image-6.12.90+deb12.1-cloud-amd64"},
		{"6.12", "amd64", "linux-image-6.12.117+deb12-amd64"},
		{"5.10", "amd64", ""},
	} {
		if got := newestPackage(names, c.series, c.flavour); got != c.want {
			t.Errorf("newest %s %s is %q, want %q", c.series, c.flavour, got, c.want)
		}
		slices.Reverse(names)
	}
}

func TestModulesComeAfterWhatTheyNeed(t *testing.T) {
	tree := t.TempDir()
	for name, text := range map[string]string{
		"modules.dep": "kernel/fs/fuse/virtiofs.ko.xz: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko\n" +
			"kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko\nkernel/drivers/virtio/virtio.ko:\n",
		"modules.builtin": "kernel/drivers/char/virtio-console.ko\n",
	} {
		if err := os.WriteFile(filepath.Join(tree, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := modulePaths(tree, []string{"virtio_console", "virtio_ring", "virtiofs"})
	want := []string{"kernel/drivers/virtio/virtio.ko", "kernel/drivers/virtio/virtio_ring.ko", "kernel/fs/fuse/virtiofs.ko.xz"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("modules are %v, %v; want %v", got, err, want)
	}
	if _, err := modulePaths(tree, []string{"overlay"}); err == nil {
		t.Error("a module that the kernel does not have is found")
	}
}
