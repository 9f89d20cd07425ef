package main

import (
	"regexp"
	"slices"
)

// leastRounds is how many rounds a median is taken of at least.
const leastRounds = 5

// effort is how much is measured.
type effort struct {
	// rounds of each comparison.
	rounds int
}

// benchmark measures some rows of the table at a time.
type benchmark struct {
	// rows are their names.
	rows []string
	run  func(*world) ([]result, error)
}

// benchmarks are all there are, in the order in which they run.
var benchmarks = []benchmark{tcp, rtt, drivers, nebula, attach, ruleCost, addressCost, ruleTime, ruleCall, forward, local, joining, manyPeers}

// pick returns those that give at least one chosen row.
func pick(chosen *regexp.Regexp) []benchmark {
	return slices.DeleteFunc(slices.Clone(benchmarks), func(b benchmark) bool {
		return !slices.ContainsFunc(b.rows, chosen.MatchString)
	})
}

// interleave measures each of n things once a round, and begins each round with
// the next of them, so that none always comes after the same neighbour. It
// returns the samples of each thing, by round.
func interleave(rounds, n int, measure func(thing int) (float64, error)) ([][]float64, error) {
	samples := make([][]float64, n)
	for round := range rounds {
		for i := range n {
			thing := (round + i) % n
			value, err := measure(thing)
			if err != nil {
				return nil, err
			}
			samples[thing] = append(samples[thing], value)
		}
	}
	return samples, nil
}
