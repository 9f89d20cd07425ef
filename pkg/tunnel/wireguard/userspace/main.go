package userspace

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/ipc"
)

// Command is the first argument that makes the daemon's executable call Main.
const Command = "wireguard-userspace"

// Ready is what the process writes to the descriptor of --ready-fd once its
// UAPI socket answers; any other text is the reason why it ended.
const Ready = "ready\n"

// Options are the process's arguments.
type Options struct {
	// Device is the TUN's name.
	Device string
	// MTU of the TUN in bytes.
	MTU int
	// ReadyFD is a descriptor to report Ready or an error to; 0 means none.
	ReadyFD int
	// LogLevel is the least level that is logged.
	LogLevel slog.Level
}

// Args returns the arguments, Command first, that make Main run with o.
func (o Options) Args() []string {
	return []string{
		Command,
		"--device", o.Device,
		"--mtu", strconv.Itoa(o.MTU),
		"--ready-fd", strconv.Itoa(o.ReadyFD),
		"--log-level", o.LogLevel.String(),
	}
}

func parse(args []string) (Options, error) {
	o := Options{}
	flags := flag.NewFlagSet(Command, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.Device, "device", "", "name of the TUN device")
	flags.IntVar(&o.MTU, "mtu", device.DefaultMTU, "MTU of the device in bytes")
	flags.IntVar(&o.ReadyFD, "ready-fd", 0, "descriptor that is told when the device is ready")
	flags.TextVar(&o.LogLevel, "log-level", slog.LevelInfo, "least level that is logged")
	if err := flags.Parse(args); err != nil {
		return o, fmt.Errorf("parse arguments: %w", err)
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("parse arguments: unexpected %q", flags.Arg(0))
	case o.Device == "" || len(o.Device) >= unix.IFNAMSIZ:
		return o, fmt.Errorf("parse arguments: device name %q is not 1 to %d bytes", o.Device, unix.IFNAMSIZ-1)
	}
	return o, nil
}

// Main runs the process until its device is deleted, its UAPI socket's file is
// removed, or SIGTERM or SIGINT arrives. Args are those after Command. It
// returns the exit code: 0, 1 for an error, 2 for wrong usage.
func Main(args []string) int {
	o, err := parse(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	closeInherited(o.ReadyFD)
	out := newBoundedFile(os.Stderr, logLimit)
	log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: o.LogLevel})).With("device", o.Device)
	report := reporter(o.ReadyFD)

	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	if err := run(ctx, o, log, func() { report(Ready) }); err != nil {
		log.Error("run userspace wireguard", "err", err)
		report(err.Error() + "\n")
		return 1
	}
	return 0
}

// reporter returns a function that writes once to the descriptor and closes
// it, so that the process holds no pipe of its parent's.
func reporter(fd int) func(string) {
	if fd == 0 {
		return func(string) {}
	}
	f := os.NewFile(uintptr(fd), "ready")
	return func(s string) {
		// The parent may be gone, and then there is no one to tell; a second
		// call finds the file closed, which is meant.
		_, _ = io.WriteString(f, s)
		_ = f.Close()
	}
}

func run(ctx context.Context, o Options, log *slog.Logger, ready func()) error {
	tun, err := openTUN(o.Device, o.MTU)
	if err != nil {
		return err
	}
	flows := newFlows()
	many, err := newManyTUN(tun, tun.File())
	if err != nil {
		return errors.Join(err, tun.Close())
	}
	half := newHalved(boundTUN{many, flows})
	dev := device.NewDevice(half, boundBind{wholeBind{conn.NewDefaultBind()}, flows}, logger(log))
	defer dev.Close()
	// Up for as long as the process runs: see alwaysUp.
	if err := dev.Up(); err != nil {
		return fmt.Errorf("bring up %s: %w", o.Device, err)
	}
	uapi, err := listen(o.Device)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go serve(uapi, func(c net.Conn) { answerUAPI(c, dev, half) }, failed)
	defer func() { _ = uapi.Close() }() // unlinks the socket
	if err := persist(tun); err != nil {
		return err
	}
	go trim(ctx, flows.packets)
	log.Info("userspace wireguard is ready", "pid", os.Getpid())
	ready()

	select {
	case <-ctx.Done():
		log.Info("userspace wireguard ends", "reason", "signal")
	case <-dev.Wait():
		log.Info("userspace wireguard ends", "reason", "device deleted")
	case err := <-failed:
		return fmt.Errorf("accept on UAPI socket: %w", err)
	}
	return nil
}

func listen(name string) (net.Listener, error) {
	// UAPIOpen tells a dead process's socket from a live one's by connecting,
	// and replaces only the former.
	file, err := ipc.UAPIOpen(name)
	if err != nil {
		return nil, fmt.Errorf("open UAPI socket: %w", err)
	}
	defer func() { _ = file.Close() }() // UAPIListen takes a duplicate
	path, err := socketPath(file)
	if err != nil {
		return nil, err
	}
	// Before UAPIListen, which watches the file and fails at any change of it:
	// then this process ends, and the driver starts another.
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, fmt.Errorf("restrict UAPI socket: %w", err)
	}
	l, err := ipc.UAPIListen(name, file)
	if err != nil {
		return nil, fmt.Errorf("listen on UAPI socket: %w", err)
	}
	return l, nil
}

// socketPath returns where a listening socket is bound.
func socketPath(f *os.File) (string, error) {
	l, err := net.FileListener(f)
	if err != nil {
		return "", fmt.Errorf("find UAPI socket: %w", err)
	}
	path := l.Addr().String()
	return path, l.Close() // of a duplicate: the file stays
}

func serve(l net.Listener, answer func(net.Conn), failed chan<- error) {
	for {
		c, err := l.Accept()
		if err != nil {
			failed <- err
			return
		}
		// A client that says nothing must not hold a connection for ever.
		_ = c.SetDeadline(time.Now().Add(uapiTimeout))
		go answer(c)
	}
}

// uapiTimeout bounds one UAPI exchange. Each of the driver's is one request on
// a connection of its own, and takes milliseconds.
const uapiTimeout = 30 * time.Second
