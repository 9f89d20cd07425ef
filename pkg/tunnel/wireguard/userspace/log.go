package userspace

import (
	"fmt"
	"log/slog"
	"os"
	"sync"

	"golang.zx2c4.com/wireguard/device"
)

// logLimit bounds the log in bytes. The run directory is in memory, and nobody
// rotates it.
const logLimit = 256 << 10

// logger lets wireguard-go write to slog.
func logger(log *slog.Logger) *device.Logger {
	return &device.Logger{
		Verbosef: func(format string, args ...any) {
			log.Debug("wireguard-go", "text", fmt.Sprintf(format, args...))
		},
		Errorf: func(format string, args ...any) {
			log.Warn("wireguard-go", "text", fmt.Sprintf(format, args...))
		},
	}
}

// boundedFile is a log that starts over when it is full. The file must be open
// for appending: then what the Go runtime itself writes to it, such as a panic,
// lands behind the last line too.
type boundedFile struct {
	mu    sync.Mutex
	file  *os.File
	limit int64
}

func newBoundedFile(f *os.File, limit int64) *boundedFile {
	return &boundedFile{file: f, limit: limit}
}

// Write appends p, after emptying a file that p would make too long.
func (b *boundedFile) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	st, err := b.file.Stat()
	if err != nil {
		return 0, fmt.Errorf("measure log: %w", err)
	}
	// Not everything can be emptied: a terminal, a pipe.
	if st.Mode().IsRegular() && st.Size()+int64(len(p)) > b.limit {
		if err := b.file.Truncate(0); err != nil {
			return 0, fmt.Errorf("empty log: %w", err)
		}
	}
	return b.file.Write(p)
}
