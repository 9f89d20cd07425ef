package metrics

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// Path is where the metrics are.
	Path = "/metrics"
	// scrapesAtOnce is how many may be under way: whoever reaches the address may ask.
	scrapesAtOnce = 2
	// listenAgain is after what time an address is tried again that this host does
	// not have, or that somebody else has.
	listenAgain = 5 * time.Second
	// drain is how long a scrape may go on after a stop.
	drain = time.Second
)

// Handler serves what the source and the calls tell, and what is known of the process.
func Handler(source Source, calls *Calls) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collector{source}, calls.took,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	mux := http.NewServeMux()
	mux.Handle("GET "+Path, promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, Registry: registry, MaxRequestsInFlight: scrapesAtOnce,
	}))
	return mux
}

// Serve serves metrics on an address until ctx ends. An address that cannot be had is
// said in the log and tried again: nothing else of the daemon's depends on it.
func Serve(ctx context.Context, address netip.AddrPort, handler http.Handler, log *slog.Logger) {
	said := false
	for {
		err := serve(ctx, address, handler, func() {
			said = false
			log.Info("metrics are served", "address", address, "path", Path)
		})
		if ctx.Err() != nil {
			return
		}
		if !said {
			said = true
			log.Warn("metrics cannot be served; trying again", "address", address, "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(listenAgain):
		}
	}
}

// serve serves until ctx ends or it goes wrong. It calls begun when it listens.
func serve(ctx context.Context, address netip.AddrPort, handler http.Handler, begun func()) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address.String())
	if err != nil {
		return err
	}
	begun()
	server := &http.Server{
		Handler: handler, ReadTimeout: 5 * time.Second, WriteTimeout: 2 * scrapeTime,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
	defer context.AfterFunc(ctx, func() {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		if err := server.Shutdown(limit); err != nil {
			_ = server.Close() // It is over either way.
		}
	})()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
