package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"time"

	"github.com/vishvananda/netns"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/test/netns/lab"
)

// attach measures how long the control socket takes to attach and to detach an
// endpoint, while their number grows and falls again.
var attach = benchmark{
	rows: []string{"attach/p99", "attach/p50", "detach/p99", "detach/p50"},
	run:  measureAttach,
}

const (
	attaches = 200
	// mostAttach is the target for the 99th percentile, in milliseconds.
	mostAttach = 10
	// callTime bounds one call.
	callTime = 10 * time.Second
)

func measureAttach(w *world) ([]result, error) {
	host := w.mesh()[0]
	namespaces, err := newNamespaces(attaches)
	defer func() {
		for _, each := range namespaces {
			_ = each.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	api, closeAPI := host.KeptAPI()
	defer closeAPI()
	if _, err := api.Status(); err != nil { // connects
		return nil, fmt.Errorf("ask for status: %w", err)
	}
	attached, err := attachAll(w.ctx, api, namespaces)
	if err != nil {
		return nil, err
	}
	detached, err := detachAll(w.ctx, api)
	if err != nil {
		return nil, err
	}
	p99 := func(samples []float64) float64 { return percentile(samples, 99) }
	return []result{
		rowOf("attach/p99", "ms", attached, p99).atMost(mostAttach),
		medianOf("attach/p50", "ms", attached),
		rowOf("detach/p99", "ms", detached, p99),
		medianOf("detach/p50", "ms", detached),
	}, nil
}

// newNamespaces makes network namespaces that nothing but a descriptor of this
// process holds: they cannot outlive it. It returns those that it could make.
func newNamespaces(count int) ([]*netns.NsHandle, error) {
	var made []*netns.NsHandle
	for range count {
		result := make(chan error, 1)
		var handle netns.NsHandle
		go func() {
			runtime.LockOSThread() // never unlocked: the thread ends here
			var err error
			handle, err = netns.New()
			result <- err
		}()
		if err := <-result; err != nil {
			return made, fmt.Errorf("make namespace: %w", err)
		}
		made = append(made, &handle)
	}
	return made, nil
}

// attachAll attaches an endpoint in each namespace, one after another, and
// returns the milliseconds that each took.
func attachAll(ctx context.Context, api lab.API, namespaces []*netns.NsHandle) ([]float64, error) {
	address := vpcPrefix.Addr().Next() // the gateway's
	var took []float64
	for i, namespace := range namespaces {
		address = address.Next()
		request := attachRequest(i, address, fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(*namespace)))
		elapsed, err := timed(ctx, func(ctx context.Context) error {
			_, err := api.Endpoints.AttachEndpoint(ctx, request)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("attach endpoint %s: %w", request.GetName(), err)
		}
		took = append(took, elapsed)
	}
	return took, nil
}

func attachRequest(i int, address netip.Addr, path string) *edgenetv1.AttachEndpointRequest {
	return &edgenetv1.AttachEndpointRequest{
		Name: endpointName(i), Vpc: vpc, Ip: address.String(), Groups: []string{group},
		Target: &edgenetv1.AttachEndpointRequest_Netns{Netns: &edgenetv1.NetnsTarget{Path: path}},
	}
}

func endpointName(i int) string { return fmt.Sprintf("attach-%d", i) }

// detachAll is attachAll's reverse.
func detachAll(ctx context.Context, api lab.API) ([]float64, error) {
	var took []float64
	for i := range attaches {
		request := &edgenetv1.DetachEndpointRequest{Name: endpointName(i), Vpc: vpc}
		elapsed, err := timed(ctx, func(ctx context.Context) error {
			_, err := api.Endpoints.DetachEndpoint(ctx, request)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("detach endpoint %s: %w", request.GetName(), err)
		}
		took = append(took, elapsed)
	}
	return took, nil
}

// timed returns how many milliseconds a call took.
func timed(ctx context.Context, call func(context.Context) error) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	began := time.Now()
	err := call(ctx)
	return milliseconds(time.Since(began)), err
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
