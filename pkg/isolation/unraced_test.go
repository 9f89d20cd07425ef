//go:build !race

package isolation

// raced is true where the race detector looks on.
const raced = false
