// Package machine runs one command on a stock Debian kernel in a virtual
// machine: it fetches the kernel, and starts qemu with software emulation and
// the host's own root, read-only, under a file system in memory. What the
// command writes elsewhere than to its output is lost with the machine. It is
// no hypervisor for anything that must be fast.
package machine
