package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"

	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/agent"
)

// benchmark measures one or more named values in one setting.
type benchmark struct {
	// names of the results, in their order.
	names []string
	// measure is handed the names that are asked for.
	measure func(t lab.TB, run options) []result
}

// all is every benchmark.
var all = []benchmark{
	{names: []string{"attach/p50", "attach/p99"}, measure: attachTime},
	{names: []string{"overlay/rtt-added", "overlay/rtt-ratio"}, measure: roundTrip},
	{
		names:   []string{"overlay/tcp-vs-tunnel", "overlay/tcp-vs-vxlan", "overlay/tcp"},
		measure: throughput,
	},
}

// options say how to measure.
type options struct {
	// rounds of interleaved measurements.
	rounds int
	// seconds of each throughput measurement.
	seconds int
	// attaches are how many endpoints are attached.
	attaches int
}

func main() {
	agent.RunIfAsked()
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	only := flag.String("only", "", "measure what matches this `REGEXP`")
	out := flag.String("out", "bench/results.json", "write the results to `FILE`")
	var how options
	flag.IntVar(&how.rounds, "rounds", 5, "rounds of interleaved measurements")
	flag.IntVar(&how.seconds, "seconds", 3, "seconds of each throughput measurement")
	flag.IntVar(&how.attaches, "attaches", 200, "endpoints to attach")
	flag.Parse()
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("parse -only: %w", err)
	}
	if how.rounds < 1 || how.seconds < 1 || how.attaches < 1 {
		return errors.New("-rounds, -seconds and -attaches must be above zero")
	}
	lab.Sweep()
	remove, err := lab.Build()
	if err != nil {
		return err
	}
	defer remove()
	results, err := measureAll(wanted, how)
	if len(results) == 0 && err == nil {
		return fmt.Errorf("no benchmark matches %q", wanted)
	}
	printTable(os.Stdout, results)
	return errors.Join(err, write(*out, results))
}

// measureAll runs the benchmarks that have a wanted name, each in a lab of its
// own. One that could not measure stops no other.
func measureAll(wanted *regexp.Regexp, how options) ([]result, error) {
	var results []result
	var problems []error
	for _, each := range all {
		if !anyMatches(wanted, each.names) {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: measuring %v\n", each.names)
		err := lab.Run(each.names[0], os.Stderr, func(t lab.TB) {
			for _, one := range each.measure(t, how) {
				if wanted.MatchString(one.Name) {
					results = append(results, one)
				}
			}
		})
		if err != nil {
			problems = append(problems, fmt.Errorf("measure %s: %w", each.names[0], err))
		}
	}
	return results, errors.Join(problems...)
}

func anyMatches(wanted *regexp.Regexp, names []string) bool {
	for _, name := range names {
		if wanted.MatchString(name) {
			return true
		}
	}
	return false
}
