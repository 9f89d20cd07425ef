// Command bench measures edgenet's promises on real packets, in namespaces of
// its own, and says for each whether it holds. It exits with 0 whenever it
// measured; `make bench-check` judges.
//
// What is compared is measured in turns within one run, several rounds of it,
// and the median of the rounds' ratios is what counts: absolute figures drift
// from machine to machine and from minute to minute, ratios much less.
//
// A new benchmark is a function in the list of all (main.go).
package main
