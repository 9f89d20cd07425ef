package isolation

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cilium/ebpf"
)

// errNoRoom says that no free span of the interval array is long enough.
var errNoRoom = errors.New("no room for port intervals")

// intervals gives out spans of the kernel's array of port intervals. What is in
// a span does not change while it is in use.
type intervals struct {
	kernel *ebpf.Map
	// free spans are sorted and do not touch one another.
	free    []edgenetSpan
	content map[edgenetSpan]string
	spans   map[string]edgenetSpan
	users   map[edgenetSpan]int
}

// openIntervals finds out from the verdicts which spans are in use.
func openIntervals(kernel *ebpf.Map, used map[edgenetVerdictKey]edgenetVerdict) (*intervals, error) {
	s := &intervals{
		kernel: kernel, content: make(map[edgenetSpan]string),
		spans: make(map[string]edgenetSpan), users: make(map[edgenetSpan]int),
	}
	for _, v := range used {
		s.users[v.Spans[0]]++
	}
	next := uint32(0)
	for _, span := range slices.SortedFunc(maps.Keys(s.users), byOffset) {
		if span.Offset < next || span.Offset+span.Count > kernel.MaxEntries() {
			return nil, fmt.Errorf("port intervals at %d overlap", span.Offset)
		}
		if span.Offset > next {
			s.free = append(s.free, edgenetSpan{Offset: next, Count: span.Offset - next})
		}
		next = span.Offset + span.Count
		if err := s.read(span); err != nil {
			return nil, err
		}
	}
	if rest := kernel.MaxEntries() - next; rest > 0 {
		s.free = append(s.free, edgenetSpan{Offset: next, Count: rest})
	}
	return s, nil
}

func byOffset(a, b edgenetSpan) int { return cmp.Compare(a.Offset, b.Offset) }

func (s *intervals) read(span edgenetSpan) error {
	b := make([]byte, 0, span.Count*intervalSize)
	for i := range span.Count {
		one, err := s.kernel.LookupBytes(span.Offset + i)
		if err != nil {
			return fmt.Errorf("read port intervals: %w", err)
		}
		b = append(b, one...)
	}
	s.content[span] = string(b)
	s.spans[string(b)] = span
	return nil
}

// add returns a span with the content, and counts one user of it.
func (s *intervals) add(content string) (edgenetSpan, error) {
	if span, ok := s.spans[content]; ok {
		s.users[span]++
		return span, nil
	}
	count := uint32(len(content) / intervalSize)
	i := slices.IndexFunc(s.free, func(f edgenetSpan) bool { return f.Count >= count })
	if i < 0 {
		return edgenetSpan{}, errNoRoom
	}
	span := edgenetSpan{Offset: s.free[i].Offset, Count: count}
	if err := s.write(span.Offset, content); err != nil {
		return edgenetSpan{}, err
	}
	s.free[i].Offset += count
	s.free[i].Count -= count
	if s.free[i].Count == 0 {
		s.free = slices.Delete(s.free, i, i+1)
	}
	s.content[span], s.spans[content], s.users[span] = content, span, 1
	return span, nil
}

func (s *intervals) write(offset uint32, content string) error {
	for i := uint32(0); len(content) > 0; i++ {
		value := edgenetInterval{
			First: binary.NativeEndian.Uint16([]byte(content[0:2])),
			Last:  binary.NativeEndian.Uint16([]byte(content[2:4])),
			Rule:  binary.NativeEndian.Uint32([]byte(content[4:8])),
		}
		if err := s.kernel.Put(offset+i, &value); err != nil {
			return fmt.Errorf("write port intervals: %w", err)
		}
		content = content[intervalSize:]
	}
	return nil
}

// release takes a user from a span, and frees it with the last.
func (s *intervals) release(span edgenetSpan) {
	s.users[span]--
	if s.users[span] > 0 {
		return
	}
	delete(s.users, span)
	content := s.content[span]
	delete(s.content, span)
	if s.spans[content] == span {
		delete(s.spans, content)
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
