// Command bench measures what edgenet promises about speed, on real packets
// between network namespaces of this machine, and writes the figures down.
//
// Every promise about packets is a ratio taken within one run: the thing and
// what it is compared with are measured in turns, in several rounds whose order
// rotates, and the median of the rounds' ratios is what counts. An absolute
// figure of a shared machine says little; a ratio of neighbours in time says
// something.
//
//	bench [-only REGEXP] [-out FILE] [-rounds N]
//
// It prints a table, writes FILE (a JSON list of name, value, unit, target,
// pass and samples) and exits with 0 whenever it measured: judging is the work
// of `make bench-check`. docs/benchmarks.md says what each row means.
//
// A new benchmark is a value in the list of all (benchmark.go), in a file of its
// own.
//
// Out of scope: profiling, and any figure that needs more than one machine.
package main
