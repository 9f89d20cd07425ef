//go:build !race

package sim

// usualSeeds is how many seeds of random faults are tried if no flag says.
const usualSeeds = 2
