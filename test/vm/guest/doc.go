// Package guest is the first process inside a virtual machine of package
// machine: it loads the modules that the root file system needs, mounts the
// host's root under a file system in memory, runs one command and hands back
// its output and exit code over virtio ports. It starts no services.
package guest
