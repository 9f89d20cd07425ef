package metrics

import (
	"context"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
)

// Calls measures how long the API's calls take. It is an interceptor that has to come
// before all that give errors their codes.
type Calls struct{ took *prometheus.HistogramVec }

// NewCalls returns one that has measured nothing.
func NewCalls() *Calls {
	return &Calls{took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "edgenet_api_call_duration_seconds",
		Help: "How long calls of the API took that have one answer, by procedure and code.",
		// 0.5 ms to 8 s: an attach is to take less than 10 ms.
		Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
	}, []string{"procedure", "code"})}
}

// WrapUnary implements [connect.Interceptor].
func (c *Calls) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		begun := time.Now()
		res, err := next(ctx, req)
		code := "ok"
		if err != nil {
			code = connect.CodeOf(err).String()
		}
		procedure := strings.TrimPrefix(req.Spec().Procedure, "/edgenet.v1.")
		c.took.WithLabelValues(procedure, code).Observe(time.Since(begun).Seconds())
		return res, err
	}
}

// WrapStreamingClient implements [connect.Interceptor]. It measures nothing.
func (c *Calls) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements [connect.Interceptor]. It measures nothing: a watch
// takes as long as its caller likes.
func (c *Calls) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}
