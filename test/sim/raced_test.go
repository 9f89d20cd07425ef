//go:build race

package sim

// usualSeeds is how many seeds of random faults are tried if no flag says: with
// the race detector one takes ten times as long.
const usualSeeds = 1
