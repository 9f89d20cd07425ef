package isolation

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// errNoRoom says that no free span of the interval array is long enough.
var errNoRoom = errors.New("no room for port intervals")

// intervalSize is the size of struct interval in bytes.
const intervalSize = int(unsafe.Sizeof(edgenetInterval{}))

// intervals gives out spans of the kernel's array of port intervals, which is
// written where it is. What is in a span does not change while it has a user.
type intervals struct {
	memory []byte
	all    []edgenetInterval
	// free spans are sorted and do not touch one another.
	free  []edgenetSpan
	spans map[string]edgenetSpan
	users map[edgenetSpan]int
}

// openIntervals takes the spans that users refer to as used.
func openIntervals(kernel *ebpf.Map, used map[edgenetSpan]int) (*intervals, error) {
	s := &intervals{spans: make(map[string]edgenetSpan), users: used}
	entries := int(kernel.MaxEntries())
	page := os.Getpagesize()
	length := (entries*intervalSize + page - 1) / page * page
	memory, err := unix.Mmap(kernel.FD(), 0, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map port intervals: %w", err)
	}
	s.memory = memory
	// Mapped memory is page aligned, and stays where it is until close.
	s.all = unsafe.Slice((*edgenetInterval)(unsafe.Pointer(unsafe.SliceData(memory))), entries)
	if err := s.findFree(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *intervals) findFree() error {
	next := uint32(0)
	for _, span := range slices.SortedFunc(maps.Keys(s.users), byOffset) {
		if span.Offset < next || int(span.Offset)+int(span.Count) > len(s.all) {
			return fmt.Errorf("port intervals at %d overlap", span.Offset)
		}
		if span.Offset > next {
			s.free = append(s.free, edgenetSpan{Offset: next, Count: span.Offset - next})
		}
		next = span.Offset + span.Count
		s.spans[string(bytesOf(s.in(span)))] = span
	}
	if rest := uint32(len(s.all)) - next; rest > 0 {
		s.free = append(s.free, edgenetSpan{Offset: next, Count: rest})
	}
	return nil
}

func (s *intervals) close() error {
	s.all = nil
	if err := unix.Munmap(s.memory); err != nil {
		return fmt.Errorf("unmap port intervals: %w", err)
	}
	return nil
}

func byOffset(a, b edgenetSpan) int { return cmp.Compare(a.Offset, b.Offset) }

// in is what stands in a span.
func (s *intervals) in(span edgenetSpan) []edgenetInterval {
	return s.all[span.Offset:][:span.Count]
}

// bytesOf are intervals as they stand in memory.
func bytesOf(content []edgenetInterval) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(content))), len(content)*intervalSize)
}

// add returns a span with the content, and counts one user of it. Nothing has
// the span of no intervals.
func (s *intervals) add(content []edgenetInterval) (edgenetSpan, error) {
	if len(content) == 0 {
		return edgenetSpan{}, nil
	}
	if span, ok := s.spans[string(bytesOf(content))]; ok {
		s.users[span]++
		return span, nil
	}
	count := uint32(len(content))
	i := slices.IndexFunc(s.free, func(f edgenetSpan) bool { return f.Count >= count })
	if i < 0 {
		return edgenetSpan{}, fmt.Errorf("%w: there is some for %d in all", errNoRoom, len(s.all))
	}
	span := edgenetSpan{Offset: s.free[i].Offset, Count: count}
	copy(s.in(span), content)
	s.free[i].Offset += count
	s.free[i].Count -= count
	if s.free[i].Count == 0 {
		s.free = slices.Delete(s.free, i, i+1)
	}
	s.spans[string(bytesOf(content))] = span
	s.users[span] = 1
	return span, nil
}

// release takes a user from a span, and frees it with the last. No packet may
// ask it any more.
func (s *intervals) release(span edgenetSpan) {
	if span.Count == 0 {
		return
	}
	s.users[span]--
	if s.users[span] > 0 {
		return
	}
	delete(s.users, span)
	if content := bytesOf(s.in(span)); s.spans[string(content)] == span {
		delete(s.spans, string(content))
	}
	i, _ := slices.BinarySearchFunc(s.free, span, byOffset)
	s.free = slices.Insert(s.free, i, span)
	s.merge(i + 1)
	s.merge(i)
}

// merge joins the free span at i to the one before it if they touch.
func (s *intervals) merge(i int) {
	if i < 1 || i >= len(s.free) || s.free[i-1].Offset+s.free[i-1].Count != s.free[i].Offset {
		return
	}
	s.free[i-1].Count += s.free[i].Count
	s.free = slices.Delete(s.free, i, i+1)
}
