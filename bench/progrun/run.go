package progrun

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// What a program at a tc hook returns (linux/pkt_cls.h).
const (
	Pass     = 0
	Shot     = 2
	Redirect = 7
)

// Program is a loaded program.
type Program struct {
	program *ebpf.Program
}

// Close lets go of it.
func (p *Program) Close() error { return p.program.Close() }

// testRun is the part of union bpf_attr that BPF_PROG_TEST_RUN takes
// (linux/bpf.h). ebpf.Program.Benchmark would do if it took a context.
type testRun struct {
	programFD           uint32
	verdict             uint32
	dataSize, outSize   uint32
	data, out           unsafe.Pointer
	repeat, nanoseconds uint32
	contextSize, _      uint32
	context, _          unsafe.Pointer
	flags, cpu          uint32
	batchSize, _        uint32
}

const (
	// commandTestRun is BPF_PROG_TEST_RUN (linux/bpf.h).
	commandTestRun = 10
	// ifindexOffset is where struct __sk_buff has the device that a packet
	// arrives on, and contextSize how much of it is passed, in bytes.
	ifindexOffset = 40
	contextSize   = 44
)

// Run runs the program once on a packet that arrives on a device of the calling
// thread's network namespace; 1 is the loopback. It returns the verdict and how
// long the run took.
func (p *Program) Run(packet []byte, ifindex uint32) (verdict uint32, took time.Duration, err error) {
	if len(packet) == 0 {
		return 0, 0, errors.New("run program: the packet is empty")
	}
	context := make([]byte, contextSize)
	binary.NativeEndian.PutUint32(context[ifindexOffset:], ifindex)
	attributes := testRun{
		programFD: uint32(p.program.FD()), repeat: 1,
		dataSize: uint32(len(packet)), data: unsafe.Pointer(unsafe.SliceData(packet)),
		contextSize: contextSize, context: unsafe.Pointer(unsafe.SliceData(context)),
	}
	for {
		_, _, errno := unix.Syscall(unix.SYS_BPF, commandTestRun,
			uintptr(unsafe.Pointer(&attributes)), unsafe.Sizeof(attributes))
		if errors.Is(errno, unix.EINTR) {
			continue
		}
		runtime.KeepAlive(packet)
		runtime.KeepAlive(context)
		if errno != 0 {
			return 0, 0, fmt.Errorf("run program: %w", errno)
		}
		return attributes.verdict, time.Duration(attributes.nanoseconds), nil
	}
}
