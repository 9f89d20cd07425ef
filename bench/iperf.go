package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// congestion is the congestion control of every stream: Linux's own default,
// whatever this machine's is, so that figures of two machines can be compared.
const congestion = "cubic"

// throughput returns how much one TCP stream carries over the way, in Mbit/s, as
// the receiver counts it.
func (y way) throughput(ctx context.Context, seconds int) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience+time.Duration(seconds)*time.Second)
	defer cancel()
	stop, err := y.serve(ctx)
	if err != nil {
		return 0, fmt.Errorf("serve iperf3 on way %s: %w", y.name, err)
	}
	report, err := output(ctx, y.from, "iperf3", "--json", "--congestion", congestion,
		"--client", y.addr.String(), "--time", strconv.Itoa(seconds))
	rate, reason := receivedRate(report)
	if err := errors.Join(err, reason, stop()); err != nil {
		return 0, fmt.Errorf("measure throughput of way %s: %w", y.name, err)
	}
	return rate / 1e6, nil
}

// serve starts a server for one client and returns when it listens, with the
// function that ends it. Should this program be killed, the server ends by
// itself, with its client or without one.
func (y way) serve(ctx context.Context) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, "iperf3", "--server", "--one-off", "--idle-timeout", "10", "--forceflush")
	cmd.WaitDelay = time.Second
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = within(y.to, cmd.Start)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	drained := make(chan struct{})
	listening := awaitLine(stdout, "listening", drained)
	stop = func() error {
		cancel()
		<-drained
		var ended *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &ended) && !errors.Is(err, context.Canceled) {
			return err
		}
		return nil // however it ended; the client has the figures
	}
	if !<-listening {
		return nil, errors.Join(errors.New("it does not listen"), stop())
	}
	return stop, nil
}

// awaitLine tells whether a line with the word came, and reads on until the end.
func awaitLine(from io.Reader, word string, drained chan<- struct{}) <-chan bool {
	found := make(chan bool, 1)
	go func() {
		defer close(drained)
		lines := bufio.NewScanner(from)
		for lines.Scan() {
			if strings.Contains(lines.Text(), word) {
				found <- true
				_, _ = io.Copy(io.Discard, from)
				return
			}
		}
		found <- false
	}()
	return found
}

// receivedRate reads iperf3's report: bits per second at the receiver.
func receivedRate(report string) (float64, error) {
	var parsed struct {
		Error string `json:"error"`
		End   struct {
			Received struct {
				Rate float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal([]byte(report), &parsed); err != nil {
		return 0, fmt.Errorf("read iperf3's report: %w", err)
	}
	if parsed.Error != "" {
		return 0, fmt.Errorf("iperf3: %s", parsed.Error)
	}
	if parsed.End.Received.Rate <= 0 {
		return 0, errors.New("iperf3: nothing was received")
	}
	return parsed.End.Received.Rate, nil
}
