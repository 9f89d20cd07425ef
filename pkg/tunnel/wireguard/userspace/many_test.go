package userspace

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
	wgtun "golang.zx2c4.com/wireguard/tun"
)

// datagrams is a device whose packets are a socket's datagrams, one a read.
type datagrams struct {
	wgtun.Device
	file *os.File
}

func (d datagrams) Read(packets [][]byte, sizes []int, offset int) (int, error) {
	n, err := d.file.Read(packets[0][offset:])
	if err != nil {
		return 0, err
	}
	sizes[0] = n
	return 1, nil
}

func newDatagrams(t *testing.T) (*manyTUN, *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	in, out := os.NewFile(uintptr(fds[0]), "in"), os.NewFile(uintptr(fds[1]), "out")
	t.Cleanup(func() { _ = errors.Join(in.Close(), out.Close()) })
	many, err := newManyTUN(datagrams{file: in}, in)
	if err != nil {
		t.Fatal(err)
	}
	return many, out
}

// room is what wireguard-go reads into.
func room(many *manyTUN) ([][]byte, []int) {
	packets := make([][]byte, many.BatchSize())
	for i := range packets {
		packets[i] = make([]byte, 64)
	}
	return packets, make([]int, len(packets))
}

func TestPacketsThatWaitAreReadAtOnce(t *testing.T) {
	many, out := newDatagrams(t)
	const offset, sent = 16, 100
	for i := range sent {
		if _, err := fmt.Fprintf(out, "packet %d", i); err != nil {
			t.Fatal(err)
		}
	}
	packets, sizes := room(many)
	reads, got := 0, 0
	for ; got < sent; reads++ {
		n, err := many.Read(packets, sizes, offset)
		if err != nil {
			t.Fatal(err)
		}
		if most := mostRead - mostSegments + 1; n > most || n < most && got+n < sent {
			t.Fatalf("a read made %d packets, want %d: the next could have been one of many segments", n, most)
		}
		for i := range n {
			if text := fmt.Sprintf("packet %d", got+i); !bytes.Equal(packets[i][offset:offset+sizes[i]], []byte(text)) {
				t.Fatalf("got %q, want %q", packets[i][offset:offset+sizes[i]], text)
			}
		}
		got += n
	}
	if want := (sent + mostRead - mostSegments) / (mostRead - mostSegments + 1); reads != want {
		t.Errorf("%d packets took %d reads, want %d", sent, reads, want)
	}
}

// A lone packet is handed on at once.
func TestALonePacketIsNotHeldUpForOthers(t *testing.T) {
	many, out := newDatagrams(t)
	packets, sizes := room(many)
	for range 3 {
		if _, err := out.WriteString("one"); err != nil {
			t.Fatal(err)
		}
		if n, err := many.Read(packets, sizes, 0); n != 1 || err != nil {
			t.Fatalf("read %d packets, %v; want 1", n, err)
		}
	}
}

// What was read before the device went away is not lost, and that it did is said.
func TestTheEndOfADeviceIsSaid(t *testing.T) {
	many, out := newDatagrams(t)
	packets, sizes := room(many)
	if _, err := out.WriteString("last"); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	n, err := many.Read(packets, sizes, 0)
	if n != 1 || string(packets[0][:sizes[0]]) != "last" {
		t.Fatalf("read %d packets, %q, want the last one", n, packets[0][:sizes[0]])
	}
	if err == nil {
		_, err = many.Read(packets, sizes, 0)
	}
	if err == nil {
		t.Error("a device that is gone can be read")
	}
}

func TestReadingManyAllocatesNothing(t *testing.T) {
	many, out := newDatagrams(t)
	packets, sizes := room(many)
	one := []byte("one")
	allocated := testing.AllocsPerRun(100, func() {
		for range 3 {
			if _, err := out.Write(one); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := many.Read(packets, sizes, 0); n != 3 || err != nil {
			t.Fatalf("read %d packets, %v; want 3", n, err)
		}
	})
	if allocated > 0 {
		t.Errorf("a read of 3 allocates %v times", allocated)
	}
}
