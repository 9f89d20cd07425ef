package guest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// relay copies what the command writes into a pipe to the output port: a port
// can be opened only once, so that the command could not open its /dev/stdout,
// and a write to it holds up a processor until the host has read it.
type relay struct {
	reader, writer *os.File
	port           port
	done           chan error
}

func startCopy(port port) (*relay, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	r := &relay{reader: reader, writer: writer, port: port, done: make(chan error, 1)}
	go func() {
		// Neither end's own ways: a splice would hand pages over and not wait.
		_, err := io.Copy(port, struct{ io.Reader }{reader})
		r.done <- err
	}()
	return r, nil
}

// finish copies what is in the pipe, and does not wait for the end of it:
// processes that outlive the command may hold it open.
func (r *relay) finish() error {
	if err := r.reader.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return err
	}
	if err := <-r.done; err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("copy output: %w", err)
	}
	raw, err := r.reader.SyscallConn()
	if err != nil {
		return err
	}
	if err := r.reader.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	buffer := make([]byte, 64<<10)
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		for failed == nil {
			n, err := unix.Read(int(fd), buffer)
			if n <= 0 {
				if !errors.Is(err, unix.EAGAIN) {
					failed = err
				}
				break
			}
			_, failed = r.port.Write(buffer[:n])
		}
		return true
	})
	return errors.Join(err, failed)
}
