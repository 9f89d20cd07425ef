package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	// pings of one sample, and the seconds between them: half a second in all.
	pings        = 250
	pingInterval = "0.002"
)

// roundTrip returns the median round-trip time of many pings, in microseconds.
func (y way) roundTrip(ctx context.Context) (float64, error) {
	report, err := output(ctx, y.from, "ping", "-n", "-i", pingInterval, "-c", strconv.Itoa(pings), y.addr.String())
	if err != nil {
		return 0, fmt.Errorf("ping over way %s: %w", y.name, err)
	}
	times, err := pingTimes(report)
	if err != nil {
		return 0, fmt.Errorf("ping over way %s: %w", y.name, err)
	}
	return median(times), nil
}

// pingTimes reads the times of a report of ping(8), in microseconds.
func pingTimes(report string) ([]float64, error) {
	var times []float64
	for line := range strings.Lines(report) {
		_, after, ok := strings.Cut(line, " time=")
		if !ok {
			continue
		}
		number, _, _ := strings.Cut(after, " ")
		milliseconds, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return nil, fmt.Errorf("read time of %q: %w", line, err)
		}
		times = append(times, milliseconds*1000)
	}
	if len(times) == 0 {
		return nil, errors.New("no ping was answered")
	}
	return times, nil
}
