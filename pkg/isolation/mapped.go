package isolation

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// mapped is an array of the kernel that is written where it is, and given out in
// extents. What is not given out is not mapped: it would count as this process's
// memory.
type mapped[T any] struct {
	kernel *ebpf.Map
	base   unsafe.Pointer
	length int
	// windows says which of them are mapped.
	windows []bool
	all     []T
	// free are sorted and do not touch one another.
	free []extent
}

// windowSize is how much is mapped at once, in bytes: a multiple of any page.
const windowSize = 1 << 20

// extent is so many elements next to one another.
type extent struct{ first, count uint32 }

// openMapped makes it ready to say by use what is not free.
func openMapped[T any](kernel *ebpf.Map) (*mapped[T], error) {
	entries, page := int(kernel.MaxEntries()), os.Getpagesize()
	length := (entries*int(unsafe.Sizeof(*new(T))) + page - 1) / page * page
	base, err := unix.MmapPtr(-1, 0, nil, uintptr(length), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("reserve addresses: %w", err)
	}
	return &mapped[T]{
		kernel: kernel, base: base, length: length, windows: make([]bool, (length+windowSize-1)/windowSize),
		// It is page aligned, and stays where it is until close.
		all: unsafe.Slice((*T)(base), entries),
	}, nil
}

// use takes extents, which are in order, as used, and the others as free.
func (m *mapped[T]) use(used []extent) error {
	next := uint32(0)
	for _, e := range used {
		if e.first < next || int(e.first)+int(e.count) > len(m.all) {
			return fmt.Errorf("what is used from %d on overlaps", e.first)
		}
		if err := m.reach(e); err != nil {
			return err
		}
		if e.first > next {
			m.free = append(m.free, extent{next, e.first - next})
		}
		next = e.first + e.count
	}
	if rest := uint32(len(m.all)) - next; rest > 0 {
		m.free = append(m.free, extent{next, rest})
	}
	return nil
}

// reach maps what an extent is in.
func (m *mapped[T]) reach(e extent) error {
	size := int(unsafe.Sizeof(*new(T)))
	first, last := int(e.first)*size/windowSize, ((int(e.first)+int(e.count))*size-1)/windowSize
	if last >= len(m.windows) {
		return fmt.Errorf("what is used from %d on is beyond the end", e.first)
	}
	for i := first; i <= last; i++ {
		if m.windows[i] {
			continue
		}
		at := i * windowSize
		length := min(windowSize, m.length-at)
		_, err := unix.MmapPtr(m.kernel.FD(), int64(at), unsafe.Add(m.base, at), uintptr(length),
			unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED)
		if err != nil {
			return fmt.Errorf("map memory: %w", err)
		}
		m.windows[i] = true
	}
	return nil
}

func (m *mapped[T]) close() error {
	m.all = nil
	if err := unix.MunmapPtr(m.base, uintptr(m.length)); err != nil {
		return fmt.Errorf("unmap memory: %w", err)
	}
	return nil
}

// in are the elements of an extent.
func (m *mapped[T]) in(r extent) []T { return m.all[r.first:][:r.count] }

// errNoSpace says that no free extent is long enough.
var errNoSpace = errors.New("no space")

// take gives out the first extent that is long enough.
func (m *mapped[T]) take(count uint32) (extent, error) {
	i := slices.IndexFunc(m.free, func(f extent) bool { return f.count >= count })
	if i < 0 {
		return extent{}, errNoSpace
	}
	taken := extent{m.free[i].first, count}
	if err := m.reach(taken); err != nil {
		return extent{}, err
	}
	m.free[i].first += count
	m.free[i].count -= count
	if m.free[i].count == 0 {
		m.free = slices.Delete(m.free, i, i+1)
	}
	return taken, nil
}

// vacant is how many elements are free.
func (m *mapped[T]) vacant() int {
	count := 0
	for _, f := range m.free {
		count += int(f.count)
	}
	return count
}

// give takes an extent back. No packet may ask it any more.
func (m *mapped[T]) give(r extent) {
	i, _ := slices.BinarySearchFunc(m.free, r, func(a, b extent) int { return cmp.Compare(a.first, b.first) })
	m.free = slices.Insert(m.free, i, r)
	m.merge(i + 1)
	m.merge(i)
}

// merge joins the free extent at i to the one before it if they touch.
func (m *mapped[T]) merge(i int) {
	if i < 1 || i >= len(m.free) || m.free[i-1].first+m.free[i-1].count != m.free[i].first {
		return
	}
	m.free[i-1].count += m.free[i].count
	m.free = slices.Delete(m.free, i, i+1)
}
