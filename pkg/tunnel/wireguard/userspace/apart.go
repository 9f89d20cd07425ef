package userspace

// keepApart has no packet share a larger one's fate. The bind hands the kernel
// packets of one size, and a smaller one behind them, in one piece, which it puts
// together in the buffer of the first. Where the path has become too narrow for that
// size all of the piece may be lost, with the small packet that would have told so.
// What does not fit behind the first one starts a piece of its own, so each packet
// gets just the room that those of its size behind it take.
func keepApart(packets [][]byte) {
	for first := 0; first < len(packets); {
		size, next := len(packets[first]), first+1
		for next < len(packets) && len(packets[next]) == size {
			next++
		}
		for ; first < next; first++ {
			room := min(cap(packets[first]), size*(next-first))
			packets[first] = packets[first][:size:room]
		}
	}
}
