package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// forwarder is a way from one station to another of the same host.
type forwarder struct {
	name     string
	from, to station
	// frames are those of a sample of established flows.
	frames [][]byte
	// source is the next source port of a new flow.
	source uint16
	// forget, if it is not nil, has the flows forgotten that were only opened.
	forget func() error
}

const (
	// forwardFlows are the established flows that packets are of.
	forwardFlows = 1024
	// forwardPackets are sent for a sample of established flows, forwardOpening for
	// a sample of new ones: so few, that all of a run fit into the kernel's table of
	// connections.
	forwardPackets = 65_536
	forwardOpening = 4096
)

// establish opens both stations and sends a packet each way of every flow.
func (f *forwarder) establish(ctx context.Context, ports []uint16) error {
	if err := errors.Join(f.from.open(ctx), f.to.open(ctx)); err != nil {
		return err
	}
	f.source = firstSource
	there := f.opening(ports, forwardFlows)
	back := make([][]byte, 0, forwardFlows)
	for i := range there {
		back = append(back, f.to.datagram(&f.from, ports[i%len(ports)], firstSource+uint16(i/len(ports))))
	}
	if _, err := exchange(ctx, &f.from, &f.to, there); err != nil {
		return err
	}
	if _, err := exchange(ctx, &f.to, &f.from, back); err != nil {
		return err
	}
	f.frames = slices.Repeat(there, forwardPackets/forwardFlows)
	return nil
}

// opening makes frames of flows that there never were: each source port opens one
// to every port.
func (f *forwarder) opening(ports []uint16, count int) [][]byte {
	frames := make([][]byte, 0, count)
	for i := range count {
		if i > 0 && i%len(ports) == 0 {
			f.source++
		}
		frames = append(frames, f.from.datagram(&f.to, f.source, ports[i%len(ports)]))
	}
	f.source++
	return frames
}

// establishedRate is how many packets of established flows pass in a second.
func (f *forwarder) establishedRate(ctx context.Context) (float64, error) {
	return f.rate(ctx, f.frames)
}

// openingRate is how many flows can be opened in a second.
func (f *forwarder) openingRate(ctx context.Context, ports []uint16) (float64, error) {
	rate, err := f.rate(ctx, f.opening(ports, forwardOpening))
	if err == nil && f.forget != nil {
		err = f.forget()
	}
	return rate, err
}

func (f *forwarder) rate(ctx context.Context, frames [][]byte) (float64, error) {
	took, err := exchange(ctx, &f.from, &f.to, frames)
	if err != nil {
		return 0, fmt.Errorf("send by way of %s: %w", f.name, err)
	}
	return float64(len(frames)) / took.Seconds(), nil
}

// exchange sends frames, all of which have to arrive, and returns how long that
// took.
func exchange(ctx context.Context, from, to *station, frames [][]byte) (time.Duration, error) {
	before, err := to.arrived(ctx)
	if err != nil {
		return 0, err
	}
	took, err := from.send(frames)
	if err != nil {
		return 0, err
	}
	after, err := to.arrived(ctx)
	if err == nil && after-before < len(frames) {
		err = fmt.Errorf("%d of %d packets arrived", after-before, len(frames))
	}
	return took, err
}

func (f *forwarder) close() error { return errors.Join(f.from.close(), f.to.close()) }
