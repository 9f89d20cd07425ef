package isolation

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unsafe"

	"github.com/cilium/ebpf"
)

// errNoRoom says that no free span of the interval array is long enough.
var errNoRoom = errors.New("no room for port intervals")

// lineSize is the size of union line in bytes.
const lineSize = int(unsafe.Sizeof(edgenetLine{}))

// intervals gives out spans of the kernel's array of lines of port intervals.
// What is in a span does not change while it has a user. Spans of equal content
// are one.
type intervals struct {
	*mapped[edgenetLine]
	spans map[string]edgenetSpan
	users map[edgenetSpan]int
}

// openIntervals takes the spans that users refer to as used.
func openIntervals(kernel *ebpf.Map, users map[edgenetSpan]int) (*intervals, error) {
	used := slices.SortedFunc(maps.Keys(users), func(a, b edgenetSpan) int { return cmp.Compare(a.Line, b.Line) })
	extents := make([]extent, len(used))
	for i, span := range used {
		extents[i] = extentOf(span)
	}
	memory, err := openMapped[edgenetLine](kernel)
	if err != nil {
		return nil, fmt.Errorf("port intervals: %w", err)
	}
	if err := memory.use(extents); err != nil {
		return nil, errors.Join(fmt.Errorf("port intervals: %w", err), memory.close())
	}
	s := &intervals{mapped: memory, spans: make(map[string]edgenetSpan, len(used)), users: users}
	for _, span := range used {
		s.spans[string(bytesOf(s.in(extentOf(span))))] = span
	}
	return s, nil
}

func extentOf(span edgenetSpan) extent { return extent{span.Line, uint32(span.Lines)} }

// limits are those between the first lines of a span.
func (s *intervals) limits(span edgenetSpan) [verdictChildren - 1]uint16 {
	return limitsOf(s.in(extentOf(span)), int(span.Height))
}

// bytesOf are lines as they stand in memory.
func bytesOf(content []edgenetLine) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(content))), len(content)*lineSize)
}

// add returns a span with the content, whose height follows from it, and counts
// one user of it.
func (s *intervals) add(content []edgenetLine, height int) (edgenetSpan, error) {
	if span, ok := s.spans[string(bytesOf(content))]; ok {
		s.users[span]++
		return span, nil
	}
	taken, err := s.take(uint32(len(content)))
	switch {
	case errors.Is(err, errNoSpace):
		return edgenetSpan{}, fmt.Errorf("%w: there is some for %d in all", errNoRoom, len(s.all)*lineIntervals)
	case err != nil:
		return edgenetSpan{}, fmt.Errorf("port intervals: %w", err)
	}
	copy(s.in(taken), content)
	span := edgenetSpan{Line: taken.first, Lines: uint16(taken.count), Height: uint16(height)}
	s.spans[string(bytesOf(content))] = span
	s.users[span] = 1
	return span, nil
}

// release takes a user from a span, and frees it with the last. No packet may
// ask it any more.
func (s *intervals) release(span edgenetSpan) {
	if span.Lines == 0 {
		return
	}
	s.users[span]--
	if s.users[span] > 0 {
		return
	}
	delete(s.users, span)
	if content := bytesOf(s.in(extentOf(span))); s.spans[string(content)] == span {
		delete(s.spans, string(content))
	}
	s.give(extentOf(span))
}
