package isolation

import (
	"math"
	"unsafe"

	"edgenet.dev/edgenet/pkg/policy"
)

// What a line has room for: LINE_INTERVALS, and the children of a fork and of a
// verdict, one more than the limits between them (bpf/types.h).
const (
	lineIntervals   = 8
	lineChildren    = len(edgenetFork{}.Limits) + 1
	verdictChildren = len(edgenetVerdict{}.Limits[0]) + 1
)

// lay appends sorted, disjoint intervals, at least one, as they stand in the
// kernel: from the level that a verdict leads to down to the leaves. height is
// how many forks are above a leaf.
func lay(to []edgenetLine, intervals []policy.Interval, numbers []uint32) (lines []edgenetLine, height int) {
	// widths are the lines of each level, leaves first.
	widths := []int{ceil(len(intervals), lineIntervals)}
	total := widths[0]
	for widths[height] > verdictChildren {
		widths = append(widths, ceil(widths[height], lineChildren))
		height++
		total += widths[height]
	}
	begin := len(to)
	to = append(to, make([]edgenetLine, total)...)
	first, reach := total-widths[0], lineIntervals
	layLeaves(to[begin+first:], intervals, numbers)
	for h := 1; h <= height; h++ {
		below := first
		first -= widths[h]
		layForks(to[begin+first:][:widths[h]], below, reach, intervals)
		reach *= lineChildren
	}
	return to, height
}

func ceil(count, divisor int) int { return (count + divisor - 1) / divisor }

// layForks makes forks over lines that begin at below, each of which is for reach
// intervals.
func layForks(forks []edgenetLine, below, reach int, intervals []policy.Interval) {
	for i := range forks {
		fork := forkIn(&forks[i])
		fork.Child = uint32(below + i*lineChildren)
		for j := range fork.Limits {
			fork.Limits[j] = math.MaxUint16
			if at := (i*lineChildren + j + 1) * reach; at < len(intervals) {
				fork.Limits[j] = intervals[at].First - 1
			}
		}
	}
}

func layLeaves(leaves []edgenetLine, intervals []policy.Interval, numbers []uint32) {
	for i := range len(leaves) * lineIntervals {
		to := &leaves[i/lineIntervals].Intervals[i%lineIntervals]
		if i >= len(intervals) {
			to.First = 1 // and Last is 0: there is none
			continue
		}
		in := intervals[i]
		*to = edgenetInterval{First: in.First, Last: in.Last}
		if int(in.Rule) < len(numbers) {
			to.Rule = numbers[in.Rule]
		}
		if in.Action == policy.Deny {
			to.Rule |= ruleDenies
		}
	}
}

// forkIn is a line as a fork. They are of one size.
func forkIn(line *edgenetLine) *edgenetFork {
	return (*edgenetFork)(unsafe.Pointer(line))
}

// limitsOf are those between the first lines of a tree.
func limitsOf(lines []edgenetLine, height int) (limits [verdictChildren - 1]uint16) {
	for i := range limits {
		limits[i] = math.MaxUint16
	}
	children := len(lines)
	if height > 0 {
		children = int(forkIn(&lines[0]).Child)
	}
	for i := 1; i < children; i++ {
		at := uint32(i)
		for range height {
			at = forkIn(&lines[at]).Child
		}
		limits[i-1] = lines[at].Intervals[0].First - 1
	}
	return limits
}

// leaves are the lines of intervals of a tree.
func leaves(lines []edgenetLine, height int) []edgenetLine {
	first := uint32(0)
	for range height {
		first = forkIn(&lines[first]).Child
	}
	return lines[first:]
}
