package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	"edgenet.dev/edgenet/internal/config"
	"edgenet.dev/edgenet/internal/control"
	edgenet "edgenet.dev/edgenet/internal/daemon"
	"edgenet.dev/edgenet/internal/metrics"
	"edgenet.dev/edgenet/internal/version"
)

// serve runs the daemon until a signal. A second signal kills it.
func serve(ctx context.Context, cfg config.Config, log *slog.Logger) (err error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var handler http.Handler
	calls := metrics.NewCalls()
	d, err := edgenet.New(cfg, edgenet.Kernel{}, func(d *edgenet.Daemon) http.Handler {
		handler = control.Handler(d, log.With("part", "control"), calls)
		return control.PeerHandler(d, handler, log.With("part", "control"))
	}, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	server, err := control.Listen(cfg.Socket(), handler)
	if err != nil {
		return err
	}
	log.Info("edgenetd starts", "name", cfg.Name, "version", version.Version, "socket", cfg.Socket())
	group, ctx := errgroup.WithContext(ctx)
	// The daemon goes on for as long as calls are being answered.
	serving, served := context.WithCancel(context.WithoutCancel(ctx))
	defer served()
	group.Go(func() error { return d.Run(serving) })
	group.Go(func() error {
		defer served()
		return server.Run(ctx)
	})
	if cfg.MetricsAddress.IsValid() {
		group.Go(func() error {
			metrics.Serve(ctx, cfg.MetricsAddress, metrics.Handler(d, calls), log.With("part", "metrics"))
			return nil
		})
	}
	group.Go(func() error {
		select {
		case <-d.Ready():
			notify(log, daemon.SdNotifyReady)
			<-ctx.Done()
		case <-ctx.Done():
		}
		stop() // the next signal has its default effect
		notify(log, daemon.SdNotifyStopping)
		log.Info("edgenetd stops; tunnels, endpoints and rules stay in force")
		return nil
	})
	return group.Wait()
}

// notify tells systemd, where there is one.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("tell the service manager", "state", state, "err", err)
	}
}

func newLogger(cfg config.Config) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options))
}
