// Package progrun runs programs that are loaded already on packets made by hand
// (BPF_PROG_TEST_RUN) and takes the time of each run.
//
// The kernel makes a new packet of the bytes, takes the clock, runs the program
// once and takes the clock again. Programs that change their packet cannot be
// run on it twice, which is why a run is one packet, and why the clock's own
// cost, that of [Empty], is for the caller to subtract.
//
// Out of scope: loading programs (pkg/isolation does) and judging figures.
package progrun
