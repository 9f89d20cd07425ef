package policy

// ahead is how many elements align looks ahead for one that came or went.
const ahead = 8

// align pairs the elements of two lists that are the same, in order: the result
// has for each element of next the index of its twin in prev, or -1. It finds
// single elements that came, went or changed in linear time. It may miss twins,
// which costs its callers work, and nothing else.
func align[T any](prev, next []T, same func(a, b *T) bool) []int32 {
	twins := make([]int32, len(next))
	at := 0
	for i := range next {
		twins[i] = -1
		if at >= len(prev) {
			continue
		}
		if same(&prev[at], &next[i]) {
			twins[i] = int32(at)
			at++
			continue
		}
		if gone := find(prev[at+1:], &next[i], same); gone >= 0 {
			at += 1 + gone
			twins[i] = int32(at)
			at++
			continue
		}
		if find(next[i+1:], &prev[at], same) < 0 {
			at++ // it was replaced
		}
	}
	return twins
}

// find returns the place of an element among the next few, or -1.
func find[T any](list []T, want *T, same func(a, b *T) bool) int {
	for i := range min(len(list), ahead) {
		if same(&list[i], want) {
			return i
		}
	}
	return -1
}

// sameMemory tells whether two slices are one.
func sameMemory[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
